import { describe, expect, it } from 'vitest'
import { bannedGlobals } from './banned-globals.ts'
import { deadExports, deadFiles, entryPointsOf, ImportGraph } from './import-graph.ts'
import { layerBreaches } from './layers.ts'
import { sizeBreaches } from './sizes.ts'
import { SourceFile } from './source-file.ts'
import { focusedTests, lockFileBreaches, textBreaches } from './text-rules.ts'

/** Every rule of the tidy test is shown to find what it is for, on sources that exist only here. */

function source(path: string, ...lines: string[]): SourceFile {
  return new SourceFile(path, `${lines.join('\n')}\n`)
}

function graph(sources: Record<string, string>): ImportGraph {
  return new ImportGraph(Object.entries(sources).map(([path, text]) => source(path, text)))
}

describe('layers', () => {
  it.each([
    ['value import upwards', "import { x } from '../log/log.ts'"],
    ['type-only import', "import type { X } from '../log/log.ts'"],
    ['inline type', "import { type X } from '../log/log.ts'"],
    ['re-export', "export * from '../log/log.ts'"],
    ['import type expression', "export type X = import('../log/log.ts').X"],
    ['dynamic import', "export const x = () => import('../log/log.ts')"],
  ])('finds a breach by %s', (_, text) => {
    const breaches = layerBreaches(graph({ 'src/raft/a.ts': text, 'src/log/log.ts': '' }))
    expect(breaches).toEqual([
      'src/raft/a.ts:1: src/raft may not import src/log/log.ts (it may import: base)',
    ])
  })

  it('finds a package and a node module that are not of this folder, and names the way out', () => {
    const breaches = layerBreaches(
      graph({ 'src/log/a.ts': "import 'node:fs/promises'\nimport '@grpc/grpc-js'" }),
    )
    expect(breaches[0]).toContain('src/log may not import node:fs/promises: use a port of src/ports')
    expect(breaches[1]).toContain('src/log/a.ts:2: src/log may not import @grpc/grpc-js')
  })

  it('allows what the table allows, and an exception with a reason', () => {
    expect(
      layerBreaches(
        graph({
          'src/drivers/raft/a.ts': "import '../../raft/x.ts'\nimport '../controller/y.ts'",
          'src/rpc/a.ts': "import '@grpc/grpc-js/build/src/x'\nimport 'node:net'",
          'src/server/a.ts': "import '../rpc/a.ts'\nimport { pino } from 'pino'",
        }),
      ),
    ).toEqual([])
    const upwards = graph({ 'src/client/a.ts': "import '../rpc/x.ts'" })
    const exception = { from: 'src/client/a.ts', to: 'src/rpc/x.ts', reason: 'shown here' }
    expect(layerBreaches(upwards, [exception])).toEqual([])
    expect(layerBreaches(upwards, [])).toHaveLength(1)
  })

  it('finds src importing tests or scripts, the server importing the cli, and a folder without a row', () => {
    expect(
      layerBreaches(
        graph({
          'src/base/a.ts': "import '../../test/harness/x.ts'",
          'src/server/b.ts': "import '../cli/main.ts'",
          'src/utils/c.ts': '',
        }),
      ),
    ).toEqual([
      'src/base/a.ts:1: imports test/harness/x.ts, which is not in src',
      'src/server/b.ts:1: src/server may not import src/cli/main.ts (it may import: *)',
      'src/utils/c.ts: the folder src/utils has no row in test/tidy/layers.ts',
    ])
  })

  it('finds import cycles, type-only ones too, once each', () => {
    const cyclic = graph({
      'src/log/a.ts': "import './b.ts'",
      'src/log/b.ts': "import type { C } from './c.ts'",
      'src/log/c.ts': "import './b.ts'",
    })
    expect(cyclic.cycles()).toEqual(['src/log/b.ts -> src/log/c.ts -> src/log/b.ts'])
    expect(graph({ 'src/log/a.ts': "import './b.ts'", 'src/log/b.ts': '' }).cycles()).toEqual([])
  })
})

describe('banned globals', () => {
  it.each([
    'Date.now()',
    'new Date()',
    'performance.now()',
    'Math.random()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    'process.env.HOME',
    'globalThis.setTimeout(f, 1)',
    'AbortSignal.timeout(5)',
    'crypto.randomUUID()',
    'console.log(1)',
    '({ process })',
  ])('finds %s outside of ports, rpc, server and cli', expression => {
    const text = `export const x = () => ${expression}`
    for (const folder of ['log', 'drivers', 'client', 'raft']) {
      expect(bannedGlobals(source(`src/${folder}/a.ts`, text)).length).toBeGreaterThan(0)
    }
    for (const folder of ['ports', 'rpc', 'server', 'cli']) {
      expect(bannedGlobals(source(`src/${folder}/a.ts`, text))).toEqual([])
    }
  })

  it.each([
    'export async function x() {}',
    'export const x = async () => 1',
    'export class X { async y() {} }',
    'export function x(): Promise<void> | undefined { return undefined }',
    'export const x = Promise.resolve(1)',
    'export const x = () => queueMicrotask(f)',
    'export const x = new Date(5)',
    'export {}; for await (const y of z) f(y)',
  ])('finds %s in pure folders only', text => {
    expect(bannedGlobals(source('src/raft/a.ts', text)).length).toBeGreaterThan(0)
    expect(bannedGlobals(source('src/log/a.ts', text))).toEqual([])
  })

  it('finds state of a module, which two nodes in one process would share', () => {
    expect(
      bannedGlobals(source('src/log/a.ts', 'let count = 0', 'export const x = () => count++')),
    ).toHaveLength(1)
    expect(bannedGlobals(source('src/log/a.ts', 'export let count = 0'))).toHaveLength(1)
    expect(
      bannedGlobals(source('src/log/a.ts', 'export const x = () => { let count = 0; return ++count }')),
    ).toEqual([])
  })

  it('names file, line and replacement', () => {
    expect(bannedGlobals(source('src/log/a.ts', '// a', 'export const x = Math.random()'))).toEqual([
      'src/log/a.ts:2: Math.random in src/log: take the Prng port (src/ports/prng.ts)',
    ])
  })

  it('leaves names alone that only read like a global', () => {
    const text = [
      "import { fetch as read } from './fetch.ts'",
      'export interface X { process(): void; readonly crypto: string }',
      'export const y = (x: X) => x.process()',
      'export const z = { console: 1, performance: "Date.now()" } // setTimeout',
    ]
    expect(bannedGlobals(source('src/raft/a.ts', ...text))).toEqual([])
  })
})

describe('dead code', () => {
  const sources = graph({
    'src/cli/main.ts': "import { used } from '../base/used.ts'",
    'src/base/used.ts': 'export const used = 1\nexport function unused() {}\nexport interface Shape {}',
    'src/base/dead.ts': 'export const dead = 1',
    'src/raft/raft.ts': 'export class Raft {}',
    'test/raft/raft.test.ts': "import { Raft } from '../../src/raft/raft.ts'",
  })
  const entries = ['src/cli/main.ts']

  it('starts from what the package exports', () => {
    const exports = { '.': { types: './dist/a.d.ts', default: './dist/a/b.js' }, './proto/*': './proto/*' }
    expect(entryPointsOf(JSON.stringify({ exports }))).toEqual(['src/a/b.ts'])
  })

  it('finds files that no entry point reaches, except the named ones', () => {
    const dead = deadFiles(sources, { entries, exceptions: [{ path: 'src/raft/' }] })
    expect(dead).toEqual(['src/base/dead.ts is reached from no entry point (src/cli/main.ts)'])
  })

  it('finds values that are exported for nobody', () => {
    expect(deadExports(sources, entries)).toEqual([
      'src/base/used.ts:2: nobody imports unused: drop the export, or the code',
      'src/base/dead.ts:1: nobody imports dead: drop the export, or the code',
    ])
  })

  it('finds imports of files that are not there', () => {
    expect(graph({ 'src/log/a.ts': "import './gone.ts'" }).missing()).toEqual([
      'src/log/a.ts imports src/log/gone.ts, which does not exist',
    ])
  })
})

describe('sizes', () => {
  const lines = (count: number) => Array.from({ length: count }, (_, i) => `export const v${i} = ${i}`)
  const long = source('src/log/a.ts', ...lines(501))
  const method = source(
    'src/log/b.ts',
    'export class B {',
    '  big() {',
    ...lines(0),
    ...Array(70).fill(''),
    '  }',
    '}',
  )

  it('finds long files and long functions', () => {
    expect(sizeBreaches([long], {})).toEqual(['src/log/a.ts has 501 lines, at most 500: split it by idea'])
    expect(sizeBreaches([method], {})).toEqual(['src/log/b.ts:2: big has 72 lines, at most 70'])
    expect(sizeBreaches([source('src/log/a.ts', ...lines(500))], {})).toEqual([])
  })

  it('lets listed ones be, but only shrink', () => {
    expect(sizeBreaches([long, method], { 'src/log/a.ts': 501, 'src/log/b.ts#big': 72 })).toEqual([])
    expect(sizeBreaches([long], { 'src/log/a.ts': 510 })).toEqual([
      'src/log/a.ts has shrunk: lower its ratchet entry to 501',
    ])
    expect(sizeBreaches([], { 'src/log/a.ts': 510 })).toEqual([
      'src/log/a.ts has shrunk to 0 lines: drop its ratchet entry',
    ])
  })

  it('does not count generated files', () => {
    expect(
      sizeBreaches([source('src/wire/a.ts', '// Generated by scripts/gen.ts.', ...lines(600))], {}),
    ).toEqual([])
  })
})

describe('text', () => {
  it('finds unfinished work, machine paths and registries', () => {
    const unfinished = `a // ${'TO'}${'DO'}: later`
    expect(textBreaches('docs/a.md', `fine\n${unfinished}`)).toHaveLength(1)
    expect(textBreaches('docs/a.md', ['see', 'home/me/x'].join(' /'))).toHaveLength(1)
    expect(textBreaches('docs/a.md', `https://${'registry'}.npmjs.org/x`)).toHaveLength(1)
    expect(textBreaches('docs/a.md', 'https://example.org/home/x, ./work/y, src/home/z')).toEqual([])
  })

  it('finds focused and skipped tests, chained ones too', () => {
    const text = ['it.only("a", f)', 'describe.skip("b", f)', 'it.skip.each([1])("c", f)', 'foo.only()']
    expect(focusedTests(source('test/a.test.ts', ...text)).map(one => one.split(': ')[1])).toEqual([
      'it.only',
      'describe.skip',
      'it.skip',
    ])
  })

  it('finds registries in the lock file', () => {
    const packages = { a: { version: '1' }, b: { resolved: 'https://host/b.tgz' } }
    expect(lockFileBreaches(JSON.stringify({ packages }))).toHaveLength(1)
  })
})
