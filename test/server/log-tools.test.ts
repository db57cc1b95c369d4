import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LogTools } from '../../src/server/log-tools.ts'

const SAMPLES = fileURLToPath(new URL('../data/kafka-batches', import.meta.url))

let directory: string
let tools: LogTools
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'naru-log-tools-'))
  cpSync(join(SAMPLES, 'rolled'), join(directory, 'rolled'), { recursive: true })
  tools = await LogTools.open()
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function filesIn(suffix: string): string[] {
  return readdirSync(join(directory, 'rolled'))
    .filter(name => name.endsWith(suffix))
    .sort()
    .map(name => join(directory, 'rolled', name))
}

async function states(): Promise<string[]> {
  const files = await tools.segmentFiles(directory)
  const reports = await Promise.all(
    files.map((file, index) => tools.verify(file, { isLast: index === files.length - 1 })),
  )
  return reports.map(({ defects }) => defects.map(one => (one.isTornTail ? 'torn' : one.what)).join() || 'ok')
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

describe('LogTools', () => {
  it("finds all segments below a directory, in order, and nothing wrong in Kafka's own", async () => {
    expect(await tools.segmentFiles(directory)).toEqual(filesIn('.log'))
    expect(filesIn('.log').length).toBeGreaterThan(1)
    expect(new Set(await states())).toEqual(new Set(['ok']))
  })

  it('reads every record of every compression', async () => {
    for (const name of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
      const files = (await tools.segmentFiles(join(SAMPLES, name))).filter(file => !file.includes('rolled'))
      const offsets: number[] = []
      for (const file of files) {
        const defect = await tools.eachBatch(file, async batch => {
          offsets.push(...batch.records().map(record => record.offset))
          return true
        })
        expect(defect, name).toBeUndefined()
      }
      expect(offsets.length, name).toBeGreaterThan(0)
      expect(offsets, name).toEqual(offsets.map((_, index) => index))
    }
  })

  it('finds one flipped bit in a batch, and where', async () => {
    const [first = ''] = filesIn('.log')
    flip(first, 100)
    const report = await tools.verify(first, { isLast: false })
    expect(report.defects).toMatchObject([{ file: first, position: 0, isTornTail: false }])
    expect(report.defects[0]?.what).toMatch(/^the CRC is/)
  })

  it('tells a torn tail of the last segment from damage', async () => {
    const last = filesIn('.log').at(-1) ?? ''
    const sizeBytes = readFileSync(last).length
    truncateSync(last, sizeBytes - 1)
    expect((await states()).at(-1)).toBe('torn')
    const asFirst = await tools.verify(last, { isLast: false })
    expect(asFirst.defects).toMatchObject([{ isTornTail: false }])
  })

  it('finds index entries that lead astray', async () => {
    const withEntries = (suffix: string) => filesIn(suffix).find(file => readFileSync(file).length > 0) ?? ''
    flip(withEntries('.index'), 7)
    expect((await states()).join()).toMatch(/leads to position \d+, where it is not/)
    cpSync(join(SAMPLES, 'rolled'), join(directory, 'rolled'), { recursive: true })
    flip(withEntries('.index'), 1)
    expect((await states()).join()).toMatch(/leads to position \d+, where it is not/)
    cpSync(join(SAMPLES, 'rolled'), join(directory, 'rolled'), { recursive: true })
    flip(withEntries('.timeindex'), 1)
    expect((await states()).join()).toMatch(/names a time that no record there has/)
  })
})
