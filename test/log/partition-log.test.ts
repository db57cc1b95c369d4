import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { append, openLog, readAll, synced, temporaryDirectory } from './log-harness.ts'

describe('a partition log', () => {
  it('moves its end at the append, and the written and synced ends once the disk has the bytes', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    const { log, progress } = fixture
    expect(append(log, { count: 3 })).toMatchObject({ kind: 'appended', baseOffset: 0, lastOffset: 2 })
    expect(append(log, { count: 2 })).toMatchObject({ kind: 'appended', baseOffset: 3, lastOffset: 4 })
    expect(log.logEndOffset).toBe(5)
    expect(log.syncedEndOffset).toBe(0)
    await synced(fixture)
    expect(progress).toEqual([
      { generation: 0, writtenEndOffset: 5, syncedEndOffset: 0 },
      { generation: 0, writtenEndOffset: 5, syncedEndOffset: 5 },
    ])
    expect(await readAll(log)).toEqual(['0:0', '1:1', '2:2', '3:0', '4:1'])
    await log.close()
  })

  it('rolls segments by size and reads across them, also after a restart', async () => {
    const directory = await temporaryDirectory()
    const config = { segmentBytes: 1000 }
    const first = await openLog({ directory, config })
    for (let at = 0; at < 40; at++) append(first.log, { value: `v${at}`, valueBytes: 100 })
    await synced(first)
    const expected = Array.from({ length: 40 }, (_, at) => `${at}:v${at}`)
    expect(await readAll(first.log)).toEqual(expected)
    expect(first.log.segmentBaseOffsets.length).toBeGreaterThan(5)
    expect(await first.log.close()).toBe(true)

    const clean = await openLog({ directory, config, cleanStop: true, recoveryPoint: 40 })
    expect(clean.log.failure).toBeUndefined()
    expect(await readAll(clean.log)).toEqual(expected)
    expect(clean.log.openReport.rebuilt).toEqual([])
    expect(clean.events).toEqual([])
    await clean.log.close()

    const unclean = await openLog({ directory, config, cleanStop: false, recoveryPoint: 40 })
    expect(await readAll(unclean.log)).toEqual(expected)
    expect(unclean.log.openReport.rebuilt).toEqual(['indexes'])
    await unclean.log.close()
    expect((await readdir(directory)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
  it('opens where a crash kept a file from getting the name that it gets now', async () => {
    const directory = await temporaryDirectory()
    const config = { compacted: true }
    const first = await openLog({ directory })
    append(first.log, { count: 3 })
    await synced(first)
    await first.log.close()
    await writeFile(join(directory, 'offset-gaps.tmp'), '')
    const second = await openLog({ directory, config })
    expect(second.log.failure).toBeUndefined()
    expect(second.log.gapsAllowed).toBe(true)
    expect(await readAll(second.log)).toEqual(['0:0', '1:1', '2:2'])
    await second.log.close()
    expect((await readdir(directory)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
