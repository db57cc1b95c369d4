import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import type { Disk, DiskFile } from '../../src/ports/disk.ts'
import { NodeDisk } from '../../src/ports/node-disk.ts'
import { append, type LogFixture, openLog, readAll, synced, temporaryDirectory } from './log-harness.ts'

/** Index entries are 256 bytes apart in these logs: a record of 100 bytes is short, ten of them are not. */
async function fill(fixture: LogFixture, count: number, producerId: number): Promise<void> {
  const from = fixture.log.logEndOffset
  for (let at = from; at < from + count; at++)
    append(fixture.log, { value: `${producerId}`, valueBytes: 100, producerId, baseSequence: at - from })
  await synced(fixture)
}

async function suffixes(directory: string): Promise<string[]> {
  const names = await readdir(directory)
  return names.map(name => name.replace(/^\d{20}/, '')).sort()
}

describe('files that follow from the log', () => {
  it('are not written where the log is short: the next open reads it', async () => {
    const directory = await temporaryDirectory()
    const first = await openLog({ directory })
    await fill(first, 1, 9)
    expect(await first.log.close()).toBe(true)
    expect(await suffixes(directory)).toEqual(['.log', 'leader-epoch-checkpoint'])

    const again = await openLog({ directory, cleanStop: true, recoveryPoint: 1 })
    expect(again.log.openReport).toMatchObject({ rebuilt: [], cutBytes: 0 })
    expect(append(again.log, { producerId: 9, baseSequence: 0 })).toMatchObject({
      kind: 'duplicate',
      baseOffset: 0,
    })
    expect(await readAll(again.log)).toEqual(['0:9'])
    await again.log.close()
  })

  it('and the log itself cost an open one call of the disk, and one more after a kill', async () => {
    const directory = await temporaryDirectory()
    const first = await openLog({ directory })
    await fill(first, 1, 9)
    await first.log.close()
    for (const cleanStop of [true, false]) {
      const calls: PropertyKey[] = []
      const disk = new Proxy<Disk>(new NodeDisk(), {
        get(target, key) {
          const called = Reflect.get(target, key)
          return (...of: unknown[]) => {
            calls.push(key)
            return called.apply(target, of)
          }
        },
      })
      const again = await openLog({ directory, disk, cleanStop, recoveryPoint: 1 })
      expect(again.log.logEndOffset).toBe(1)
      expect(calls).toEqual(cleanStop ? ['readDirectory'] : ['readDirectory', 'syncWithName'])
      await again.log.close()
    }
  })

  it('stay as they are where nothing was written since the open', async () => {
    const directory = await temporaryDirectory()
    const first = await openLog({ directory })
    await fill(first, 10, 9)
    await first.log.close()
    const identities = async () =>
      Promise.all(
        (await readdir(directory)).map(async name => [name, (await stat(`${directory}/${name}`)).ino]),
      )
    const before = await identities()
    expect(await suffixes(directory)).toEqual([
      '.index',
      '.log',
      '.snapshot',
      '.timeindex',
      'leader-epoch-checkpoint',
    ])
    const again = await openLog({ directory, cleanStop: true, recoveryPoint: 10 })
    expect(await again.log.close()).toBe(true)
    expect(await identities()).toEqual(before)

    const third = await openLog({ directory, cleanStop: true, recoveryPoint: 10 })
    await fill(third, 3, 11)
    await third.log.close()
    const last = await openLog({ directory, cleanStop: true, recoveryPoint: 13 })
    expect(last.log.openReport.rebuilt).toEqual([])
    expect([...last.log.producerEntries].map(([producerId]) => producerId)).toEqual([9, 11])
    await last.log.close()
  })

  it('go with what is cut, and are right about the rest when that was short for a while', async () => {
    const directory = await temporaryDirectory()
    const first = await openLog({ directory })
    await fill(first, 10, 9)
    await first.log.close()
    const cut = await openLog({ directory, cleanStop: true, recoveryPoint: 10 })
    await cut.log.truncateTo(1)
    await cut.log.close()
    expect(await suffixes(directory)).toEqual(['.log', 'leader-epoch-checkpoint'])
    const grown = await openLog({ directory, cleanStop: true, recoveryPoint: 1 })
    await fill(grown, 9, 11)
    await grown.log.close()
    // By another setting the same segment would be short.
    const indexIntervalBytes = 100_000
    const wide = await openLog({
      directory,
      cleanStop: true,
      recoveryPoint: 10,
      config: { indexIntervalBytes },
    })
    append(wide.log, { value: 'other', valueBytes: 400 })
    await synced(wide)
    await wide.log.close()
    const last = await openLog({ directory, cleanStop: true, recoveryPoint: 11 })
    expect(await readAll(last.log)).toEqual([
      '0:9',
      ...Array.from({ length: 9 }, (_, at) => `${at + 1}:11`),
      '10:other',
    ])
    await last.log.close()
  })

  it('are not believed with a turned bit: where a leader epoch begins decides what a follower cuts', async () => {
    const directory = await temporaryDirectory()
    const first = await openLog({ directory })
    for (const leaderEpoch of [1, 2])
      for (let at = 0; at < 10; at++) append(first.log, { leaderEpoch, valueBytes: 100 })
    await synced(first)
    await first.log.close()
    const path = `${directory}/leader-epoch-checkpoint`
    const whole = String(await readFile(path))
    expect(whole).toContain('\n2 10\n')
    await writeFile(path, whole.replace('\n2 10\n', '\n2 18\n'))
    const again = await openLog({ directory, cleanStop: true, recoveryPoint: 20 })
    expect(again.log.endOffsetForEpoch(1)).toEqual({ epoch: 1, endOffset: 10 })
    await again.log.close()
    expect(String(await readFile(path))).toBe(whole)
  })
})

describe('a new generation', () => {
  it('reports what earlier syncs covered without one more, and syncs what they did not', async () => {
    let syncs = 0
    class CountingDisk extends NodeDisk {
      override async open(...of: Parameters<NodeDisk['open']>): Promise<DiskFile> {
        const file = await super.open(...of)
        const sync = file.sync.bind(file)
        file.sync = () => {
          syncs++
          return sync()
        }
        return file
      }
    }
    const fixture = await openLog({ directory: await temporaryDirectory(), disk: new CountingDisk() })
    append(fixture.log, { count: 3 })
    await synced(fixture)
    const before = syncs
    const generation = fixture.log.beginGeneration()
    await synced(fixture)
    expect(syncs).toBe(before)
    expect(fixture.progress.at(-1)).toEqual({ generation, writtenEndOffset: 3, syncedEndOffset: 3 })
    append(fixture.log, { count: 2 })
    const next = fixture.log.beginGeneration()
    await synced(fixture)
    expect(syncs).toBe(before + 1)
    expect(fixture.progress.at(-1)).toEqual({ generation: next, writtenEndOffset: 5, syncedEndOffset: 5 })
    await fixture.log.close()
  })
})
