/** A fenced block of a page. */
export interface CodeBlock {
  /** What follows the fence: `console`, `ts` ... */
  readonly language: string
  readonly text: string
  /** Of its first line, counted from 1. */
  readonly line: number
}

export function codeBlocks(page: string): CodeBlock[] {
  const blocks: CodeBlock[] = []
  let open: { language: string; line: number; lines: string[] } | undefined
  page.split('\n').forEach((text, index) => {
    const fence = /^```(.*)$/.exec(text)
    if (!fence) open?.lines.push(text)
    else if (!open) open = { language: (fence[1] ?? '').trim(), line: index + 2, lines: [] }
    else {
      const { language, line, lines } = open
      blocks.push({ language, line, text: lines.join('\n') })
      open = undefined
    }
  })
  if (open) throw new Error(`the block that begins in line ${open.line} has no end`)
  return blocks
}

/** Targets of links, without those in code. */
export function linksOf(page: string): string[] {
  const prose = page.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`]*`/g, '`')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(match => match[1] ?? '')
}

/** As GitHub makes them from headings. */
export function headingAnchors(page: string): Set<string> {
  const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(match => match[1] ?? '')
  return new Set(
    headings.map(text =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}
