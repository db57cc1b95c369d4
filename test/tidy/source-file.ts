import { parseSync } from 'oxc-parser'

/** A syntax tree node as ESTree has it; only what the checks look at is typed. */
export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

export interface ImportEdge {
  /** As written: `../base/errors.ts`, `node:fs`, `commander`. */
  readonly specifier: string
  readonly line: number
  /** Names taken from there; `*` stands for all of them. */
  readonly names: readonly string[]
}

export interface ExportedName {
  readonly name: string
  readonly line: number
  readonly isType: boolean
}

/** One parsed source file. Paths are relative to the repository, with `/`. */
export class SourceFile {
  readonly path: string
  readonly text: string
  readonly program: SyntaxNode
  readonly imports: readonly ImportEdge[]
  readonly exports: readonly ExportedName[]
  readonly #lineStarts: number[]

  constructor(path: string, text: string) {
    const parsed = parseSync(path, text)
    if (parsed.errors.length > 0) throw new Error(`${path} does not parse: ${parsed.errors[0]?.message}`)
    this.path = path
    this.text = text
    this.program = parsed.program as unknown as SyntaxNode
    this.#lineStarts = [0]
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) this.#lineStarts.push(i + 1)
    this.imports = [...this.#importDeclarations()]
    this.exports = [...this.#exportedNames()]
  }

  get lineCount(): number {
    return this.text.endsWith('\n') ? this.#lineStarts.length - 1 : this.#lineStarts.length
  }

  /** `src/base` -> `base`, `src/drivers/raft` -> `drivers`; undefined outside of src. */
  get folder(): string | undefined {
    return /^src\/([^/]+)\//.exec(this.path)?.[1]
  }

  lineOf(position: number): number {
    let low = 0
    let high = this.#lineStarts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#lineStarts[middle] ?? 0) <= position) low = middle
      else high = middle - 1
    }
    return low + 1
  }

  *#importDeclarations(): Generator<ImportEdge> {
    for (const { node } of walk(this.program)) {
      const source = node['source'] as SyntaxNode | undefined | null
      if (source?.type !== 'Literal' || typeof source['value'] !== 'string') continue
      yield { specifier: source['value'], line: this.lineOf(node.start), names: namesTaken(node) }
    }
  }

  *#exportedNames(): Generator<ExportedName> {
    for (const node of this.program['body'] as SyntaxNode[]) {
      if (node.type !== 'ExportNamedDeclaration' || node['source']) continue
      const isType = node['exportKind'] === 'type'
      const line = this.lineOf(node.start)
      for (const name of declaredNames(node['declaration'] as SyntaxNode | null)) yield { name, line, isType }
      for (const specifier of node['specifiers'] as SyntaxNode[]) {
        yield { name: nameOf(specifier['exported'] as SyntaxNode), line, isType }
      }
    }
  }
}

export interface Visit {
  readonly node: SyntaxNode
  readonly parent: SyntaxNode | undefined
  /** Under which key of the parent the node hangs. */
  readonly key: string
}

/** All nodes, parents first. */
export function* walk(node: SyntaxNode, parent?: SyntaxNode, key = ''): Generator<Visit> {
  yield { node, parent, key }
  for (const [childKey, child] of Object.entries(node)) {
    for (const item of Array.isArray(child) ? child : [child]) {
      if (isNode(item)) yield* walk(item, node, childKey)
    }
  }
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'
}

function namesTaken(node: SyntaxNode): string[] {
  if (node.type === 'TSImportType') {
    const qualifier = node['qualifier'] as SyntaxNode | null
    return qualifier?.type === 'Identifier' ? [nameOf(qualifier)] : ['*']
  }
  if (node.type !== 'ImportDeclaration' && node.type !== 'ExportNamedDeclaration') return ['*']
  return (node['specifiers'] as SyntaxNode[]).map(specifier => {
    if (specifier.type === 'ImportNamespaceSpecifier') return '*'
    if (specifier.type === 'ImportDefaultSpecifier') return 'default'
    return nameOf((specifier['imported'] ?? specifier['local']) as SyntaxNode)
  })
}

function declaredNames(declaration: SyntaxNode | null): string[] {
  if (!declaration) return []
  if (declaration.type !== 'VariableDeclaration') return [nameOf(declaration['id'] as SyntaxNode)]
  return (declaration['declarations'] as SyntaxNode[]).map(one => nameOf(one['id'] as SyntaxNode))
}

function nameOf(node: SyntaxNode): string {
  return String(node['name'] ?? node['value'])
}
