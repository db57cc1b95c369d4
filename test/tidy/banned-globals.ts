import { OUTSIDE_FOLDERS, PURE_FOLDERS } from './layers.ts'
import { type SourceFile, type SyntaxNode, type Visit, walk } from './source-file.ts'

const CLOCK = 'take the Clock port (src/ports/clock.ts), or nowMs as an argument in pure code'
const PRNG = 'take the Prng port (src/ports/prng.ts)'
const SETTINGS = 'take it as an option from the composition root (src/server)'
const LOGGER = 'report it as an event, or to the logger that was given'

/** Globals that make a run depend on its machine: not outside of ports, rpc, server and cli. */
const BANNED_INSIDE: Readonly<Record<string, string>> = {
  setTimeout: CLOCK,
  setInterval: CLOCK,
  setImmediate: CLOCK,
  performance: CLOCK,
  crypto: PRNG,
  process: SETTINGS,
  globalThis: SETTINGS,
  console: LOGGER,
  fetch: 'take the Transport port (src/ports/transport.ts)',
}

const BANNED_MEMBERS_INSIDE: Readonly<Record<string, string>> = {
  'Math.random': PRNG,
  'Date.now': CLOCK,
  'AbortSignal.timeout': CLOCK,
}

const SYNCHRONOUS = 'pure code is synchronous: return the effect as data, its driver does it'

const BANNED_PURE: Readonly<Record<string, string>> = {
  Promise: SYNCHRONOUS,
  PromiseLike: SYNCHRONOUS,
  AsyncIterable: SYNCHRONOUS,
  queueMicrotask: SYNCHRONOUS,
  Date: 'take nowMs as an argument',
}

/** Files whose module-level variable no node can see another's doing in, and why. */
const MODULE_STATE_EXCEPTIONS: Readonly<Record<string, string>> = {
  'src/wire/schema.ts': 'a table that is read from a constant when first needed: the same for everybody',
}

export function bannedGlobals(file: SourceFile): string[] {
  if (file.folder === undefined || OUTSIDE_FOLDERS.has(file.folder)) return []
  const isPure = PURE_FOLDERS.has(file.folder)
  const breaches: string[] = []
  for (const visit of walk(file.program)) {
    const found =
      usedGlobal(visit, isPure) ??
      moduleState(file.path, visit) ??
      (isPure ? asynchronousSyntax(visit.node) : undefined)
    if (found) {
      breaches.push(
        `${file.path}:${file.lineOf(visit.node.start)}: ${found.what} in src/${file.folder}: ${found.instead}`,
      )
    }
  }
  return breaches
}

interface Finding {
  readonly what: string
  readonly instead: string
}

function usedGlobal(visit: Visit, isPure: boolean): Finding | undefined {
  const { node } = visit
  if (node.type === 'NewExpression' && nameOf(node['callee']) === 'Date' && isEmpty(node['arguments'])) {
    return { what: 'new Date()', instead: CLOCK }
  }
  if (node.type === 'MemberExpression') {
    const member = `${nameOf(node['object'])}.${nameOf(node['property'])}`
    const instead = BANNED_MEMBERS_INSIDE[member]
    return instead ? { what: member, instead } : undefined
  }
  if (node.type !== 'Identifier' || !isReference(visit)) return undefined
  const name = String(node['name'])
  const instead = ownValue(BANNED_INSIDE, name) ?? (isPure ? ownValue(BANNED_PURE, name) : undefined)
  return instead ? { what: name, instead } : undefined
}

/** A simulated cluster is many nodes in one process: what belongs to one must not live in a module. */
function moduleState(path: string, { node, parent }: Visit): Finding | undefined {
  const isTop = parent?.type === 'Program' || parent?.type === 'ExportNamedDeclaration'
  if (Object.hasOwn(MODULE_STATE_EXCEPTIONS, path)) return undefined
  if (node.type !== 'VariableDeclaration' || node['kind'] === 'const' || !isTop) return undefined
  return {
    what: `module-level ${node['kind']}`,
    instead: 'keep state in an instance that the composition root makes',
  }
}

function asynchronousSyntax(node: SyntaxNode): Finding | undefined {
  if (node['async'] === true) return { what: 'async', instead: SYNCHRONOUS }
  if (node.type === 'AwaitExpression' || node['await'] === true) {
    return { what: 'await', instead: SYNCHRONOUS }
  }
  return undefined
}

/** False for names that only happen to read like a global: `x.process`, `{ process: 1 }`, `import { fetch }`. */
function isReference({ parent, key }: Visit): boolean {
  if (!parent) return true
  if (parent['computed'] === true) return true
  if (key === 'property') return false
  if (key === 'key') return parent['shorthand'] === true
  return !/^(Import|Export)\w*Specifier$/.test(parent.type) && key !== 'label'
}

function ownValue(table: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

function nameOf(node: unknown): string {
  const { type, name } = node as SyntaxNode
  return type === 'Identifier' ? String(name) : ''
}

function isEmpty(list: unknown): boolean {
  return Array.isArray(list) && list.length === 0
}
