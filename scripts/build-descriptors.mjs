/**
 * `npm run build`: writes dist/proto/naru.binpb, the descriptor set of proto/ with its comments, which a node serves
 * by gRPC reflection. Calls the buf binary of the platform's package itself: npm's own link to it is made by an
 * install script, and those may be switched off. Needs no network.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const output = join(root, 'dist/proto/naru.binpb')

if (!isUpToDate()) {
  mkdirSync(dirname(output), { recursive: true })
  execFileSync(bufBinary(), ['build', 'proto', '--output', output], { cwd: root, stdio: 'inherit' })
}

function isUpToDate() {
  const builtMs = statSync(output, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const sources = readdirSync(join(root, 'proto'), { recursive: true, encoding: 'utf8' })
    .map(path => join(root, 'proto', path))
    // Directories too: their time changes when a file is removed.
    .concat(join(root, 'proto'), join(root, 'buf.yaml'), fileURLToPath(import.meta.url))
  return sources.every(path => statSync(path).mtimeMs < builtMs)
}

function bufBinary() {
  const packageName = `@bufbuild/buf-${process.platform}-${process.arch}`
  const packageJson = createRequire(import.meta.url).resolve(`${packageName}/package.json`)
  return join(dirname(packageJson), 'bin', process.platform === 'win32' ? 'buf.exe' : 'buf')
}
