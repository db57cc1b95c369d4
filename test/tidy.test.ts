import { describe, expect, it } from 'vitest'
import { SETTING_KEYS } from '../src/server/settings-table.ts'
import { bannedGlobals } from './tidy/banned-globals.ts'
import { deadExports, deadFiles, entryPointsOf, ImportGraph } from './tidy/import-graph.ts'
import { LAYER_EXCEPTIONS, layerBreaches } from './tidy/layers.ts'
import { readRepositoryFile, repositoryFiles, sourceFiles } from './tidy/repository.ts'
import { sizeBreaches } from './tidy/sizes.ts'
import { focusedTests, lockFileBreaches, textBreaches } from './tidy/text-rules.ts'

/**
 * The repository checks itself: layers, purity, size, leftovers. Each rule lives in test/tidy and is shown
 * to find a planted breach in test/tidy/rules.test.ts.
 */
const ENTRY_POINTS = ['src/cli/main.ts', ...entryPointsOf(readRepositoryFile('package.json'))]

/** Source that no entry point reaches yet, and why. */
const DEAD_FILE_EXCEPTIONS: readonly { path: string; reason: string }[] = [
  { path: 'src/replication/', reason: 'partitions have one replica so far: only tests run more' },
  { path: 'src/groups/', reason: 'the pure core of groups: no coordinator drives it yet' },
  {
    path: 'src/wire/generated/group-record.ts',
    reason: 'the form of its records: no coordinator writes them yet',
  },
]

const files = sourceFiles()
const sources = files.filter(file => file.path.startsWith('src/'))
const graph = new ImportGraph(files)

describe('layers', () => {
  it('are kept by every import', () => {
    expect(layerBreaches(graph)).toEqual([])
  })

  it('have no exception that is no longer needed', () => {
    const unused = LAYER_EXCEPTIONS.filter(one => layerBreaches(graph, without(one)).length === 0)
    expect(unused).toEqual([])
  })

  it('have no import cycle', () => {
    expect(new ImportGraph(sources).cycles()).toEqual([])
  })

  it('reach time, randomness, files and the process only through ports', () => {
    expect(sources.flatMap(bannedGlobals)).toEqual([])
  })
})

describe('dead code', () => {
  it('has no file that nobody runs', () => {
    expect(deadFiles(graph, { entries: ENTRY_POINTS, exceptions: DEAD_FILE_EXCEPTIONS })).toEqual([])
  })

  it('has no export that nobody imports', () => {
    expect(deadExports(graph, ENTRY_POINTS)).toEqual([])
  })

  it('has no setting that nobody reads', () => {
    const readers = sources.filter(file => !file.path.startsWith('src/server/settings'))
    const unread = SETTING_KEYS.filter(key => !readers.some(file => readsSetting(file.text, key)))
    expect(unread).toEqual([])
  })

  it('has no import of a file that is not there', () => {
    expect(graph.missing()).toEqual([])
  })
})

describe('text', () => {
  const isText = (path: string) => !/\.(log|index|timeindex|snapshot|bin|binpb|gz|png)$/.test(path)

  it('keeps files and functions short', () => {
    expect(sizeBreaches(files)).toEqual([])
  })

  it('has nothing unfinished and nothing of one machine', () => {
    const paths = repositoryFiles().filter(path => isText(path) && path !== 'package-lock.json')
    expect(paths.flatMap(path => textBreaches(path, readRepositoryFile(path)))).toEqual([])
  })

  it('has no focused or skipped test', () => {
    expect(files.flatMap(focusedTests)).toEqual([])
  })

  it('has a lock file for any registry', () => {
    expect(lockFileBreaches(readRepositoryFile('package-lock.json'))).toEqual([])
  })
})

function without(exception: (typeof LAYER_EXCEPTIONS)[number]) {
  return LAYER_EXCEPTIONS.filter(one => one !== exception)
}

function readsSetting(text: string, key: string): boolean {
  return text.includes(`['${key}']`) || (/^\w+$/.test(key) && text.includes(`settings.${key}`))
}
