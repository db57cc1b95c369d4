import { type SourceFile, type SyntaxNode, walk } from './source-file.ts'

/** Words in two halves, so that this file does not breach its own rule. */
const UNFINISHED = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)
/** Home and work directories of somebody's machine. */
const MACHINE_PATH = /(?<![\w.:/~$}])\/(?:home|Users|root|work)\/[\w.]/
const REGISTRY = /\bregistry\.[a-z]+(?:js)?\.(?:org|com|io)\b/

export function textBreaches(path: string, text: string): string[] {
  const breaches: string[] = []
  text.split('\n').forEach((line, index) => {
    const where = `${path}:${index + 1}`
    const word = UNFINISHED.exec(line)
    if (word) breaches.push(`${where}: ${word[0]}: finish it, or write the limit down as a decision`)
    const machinePath = MACHINE_PATH.exec(line)
    if (machinePath) breaches.push(`${where}: absolute path of one machine (${machinePath[0]}...)`)
    if (REGISTRY.test(line)) breaches.push(`${where}: names a package registry; npm knows its own`)
  })
  return breaches
}

/** `it.only` hides the other tests, `it.skip` hides itself. */
export function focusedTests(file: SourceFile): string[] {
  const breaches: string[] = []
  for (const { node } of walk(file.program)) {
    if (node.type !== 'MemberExpression') continue
    const property = String((node['property'] as SyntaxNode)['name'])
    if (!['only', 'skip', 'todo', 'fails'].includes(property)) continue
    const root = rootName(node['object'] as SyntaxNode)
    if (['it', 'test', 'describe', 'suite', 'bench'].includes(root)) {
      breaches.push(`${file.path}:${file.lineOf(node.start)}: ${root}.${property}: every test runs, always`)
    }
  }
  return breaches
}

/** The lock file must work with any registry: it names none. */
export function lockFileBreaches(text: string): string[] {
  const packages = (JSON.parse(text) as { packages: Record<string, object> }).packages
  return Object.entries(packages)
    .filter(([, entry]) => 'resolved' in entry)
    .map(([name]) => `package-lock.json: ${name} has "resolved" (.npmrc has omit-lockfile-registry-resolved)`)
}

function rootName(node: SyntaxNode): string {
  if (node.type === 'MemberExpression') return rootName(node['object'] as SyntaxNode)
  if (node.type === 'CallExpression') return rootName(node['callee'] as SyntaxNode)
  return String(node['name'] ?? '')
}
