import { UsageError } from './errors.ts'

/** Where the key of a line is: nowhere, in the n-th field, or before a separator (which then leaves the value). */
export type KeyRule =
  | { readonly kind: 'none' }
  | { readonly kind: 'field'; readonly number: number }
  | { readonly kind: 'separator'; readonly separator: Buffer }

export interface KeyedLine {
  readonly key?: Buffer
  readonly value: Buffer
}

/** Throws a UsageError on a line without the key: a record that went elsewhere than its likes would be a silent mistake. */
export function keyedLine(line: Buffer, rule: KeyRule, lineNumber: number): KeyedLine {
  switch (rule.kind) {
    case 'none':
      return { value: line }
    case 'field': {
      const key = field(line, rule.number)
      if (key) return { key, value: line }
      throw new UsageError(
        `line ${lineNumber} has no field ${rule.number} to take its key from (--key-field)`,
      )
    }
    case 'separator': {
      const at = line.indexOf(rule.separator)
      if (at >= 0) return { key: line.subarray(0, at), value: line.subarray(at + rule.separator.length) }
      throw new UsageError(
        `line ${lineNumber} has no ${JSON.stringify(rule.separator.toString())} to end its key (--key-separator)`,
      )
    }
  }
}

/** The n-th run of bytes between spaces and tabs, counted from 1, as awk's `$n`. */
function field(line: Buffer, number: number): Buffer | undefined {
  let position = 0
  for (let n = 1; ; n++) {
    while (position < line.length && isBlank(line[position])) position++
    if (position >= line.length) return undefined
    const start = position
    while (position < line.length && !isBlank(line[position])) position++
    if (n === number) return line.subarray(start, position)
  }
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d
}
