import { copyFile, readdir, readFile, rm, stat } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { initCompression } from '../../src/records/compression.ts'
import { openLog, readAll, temporaryDirectory } from './log-harness.ts'

const SAMPLES = new URL('../data/kafka-batches/', import.meta.url).pathname

beforeAll(initCompression)

/** Directories that Apache Kafka wrote (see test/data/README.md) are logs to Naru, and the other way round. */
describe.each(['none', 'lz4', 'plain-producer', 'log-append-time', 'rolled', 'transactions'])(
  'the segments of Kafka in %s',
  sample => {
    async function copySample(): Promise<string> {
      const directory = await temporaryDirectory()
      for (const name of await readdir(`${SAMPLES}${sample}`)) {
        await copyFile(`${SAMPLES}${sample}/${name}`, `${directory}/${name}`)
      }
      return directory
    }

    it('open and read as they are', async () => {
      const { log } = await openLog({ directory: await copySample(), cleanStop: true })
      expect(log.failure).toBeUndefined()
      const records = await readAll(log, 100_000)
      const lines = (await readFile(`${SAMPLES}${sample}.jsonl`, 'utf8')).trimEnd().split('\n')
      const last = JSON.parse(lines.at(-1) ?? '{}')
      expect(log.logEndOffset).toBeGreaterThan(last.offset)
      expect(records.length).toBeGreaterThanOrEqual(lines.length)
      await log.close()
    })

    it('get the very same indexes here', async () => {
      const directory = await copySample()
      const names = (await readdir(directory)).filter(name => /\.(index|timeindex|snapshot)$/.test(name))
      for (const name of names) await rm(`${directory}/${name}`)
      await rm(`${directory}/leader-epoch-checkpoint`)
      const { log } = await openLog({ directory, config: { indexIntervalBytes: 1024 } })
      const lastBase = log.segmentBaseOffsets.at(-1)
      await log.close()
      for (const name of names.filter(name => !name.endsWith('.snapshot'))) {
        const ours = await readFile(`${directory}/${name}`)
        const theirs = await readFile(`${SAMPLES}${sample}/${name}`)
        // Kafka adds the largest timestamp when it stops; here a segment gets that entry when it is complete.
        const isLastTimeIndex = name.endsWith('.timeindex') && Number.parseInt(name, 10) === lastBase
        if (isLastTimeIndex) expect(theirs.subarray(0, ours.length)).toEqual(ours)
        else expect(ours).toEqual(theirs)
      }
      expect(entriesIn(await readFile(`${directory}/leader-epoch-checkpoint`))).toEqual(
        entriesIn(await readFile(`${SAMPLES}${sample}/leader-epoch-checkpoint`)),
      )
      expect((await stat(`${directory}/partition.metadata`)).size).toBeGreaterThan(0)
    })
  },
)

/** Of a leader epoch checkpoint, between its two first lines and the checksum that Kafka's lacks. */
function entriesIn(checkpoint: Buffer): string[] {
  return String(checkpoint)
    .trimEnd()
    .split('\n')
    .slice(2)
    .filter(line => !line.startsWith('crc32c'))
}
