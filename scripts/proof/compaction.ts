/**
 * A compacted topic on three real nodes: a million records over 10,000 keys are written, the topic is compacted while it is
 * read and written further, and the leader is killed while it compacts. Then what each replica holds is looked at: by a
 * reader, by `naru log verify`, and, with `--kafka-libs DIR` (Java 17 or newer on the path), by Kafka's own tools. Writes
 * docs/reports/compaction.md.
 *
 *     npm run proof:compaction [-- [RECORDS] [--kafka-libs DIR]]
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import type { Client } from '../../src/client/types.ts'
import { LogTools, type SegmentReport } from '../../src/server/log-tools.ts'
import { NodeCluster, until } from '../../test/harness/node-cluster.ts'
import { checkPartitions } from '../../test/interop/check-partitions.ts'
import { KafkaTools } from '../../test/interop/kafka-tools.ts'
import { REPOSITORY } from '../bench/child-processes.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { type Promised, writeReport } from './report.ts'

const RECORDS_DEFAULT = 1_000_000
const KEYS_MAX = 10_000
/** Written before the topic is compacted. */
const SHARE_BEFORE = 0.9
const TOPIC = 'table'
const SEND_AT_A_TIME = 5_000
const PADDING = '.'.repeat(80)
const CLEANED_TIMEOUT_MS = 90_000
const WRONG_MAX = 20

const { values: flags, positionals } = parseArgs({
  options: { 'kafka-libs': { type: 'string', default: process.env['KAFKA_LIBS'] ?? '' } },
  allowPositionals: true,
})
const recordCount = Number(positionals[0] ?? RECORDS_DEFAULT)
const keyCount = Math.min(KEYS_MAX, Math.floor(recordCount / 10))
/** By record: the offset that was acknowledged for it. */
const offsets = new Float64Array(recordCount).fill(-1)
const wrong: string[] = []
const tools = await LogTools.open()

const window = new ProcessorWindow()
await using cluster = await NodeCluster.start({ settings: { 'log.cleaner.backoff.ms': 200 } })
await using client = await cluster.connect()
const admin = client.admin()
const settings = { 'segment.bytes': String(1024 * 1024), 'min.insync.replicas': '2' }
await admin.createTopics([{ name: TOPIC, partitions: 1, replicationFactor: 3, settings }])
const beforeCount = Math.floor(recordCount * SHARE_BEFORE)
await write(client, 0, beforeCount)
const leader = await leaderId()
const bytesBefore = sum(await segmentsOf(leader), one => one.sizeBytes)
console.log(`${beforeCount} records written: ${bytesBefore} bytes in each replica`)

await admin.alterTopicSettings(TOPIC, {
  set: { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.01' },
})
const killed = killWhileCleaning(leader)
let isWritten = false
const written = write(client, beforeCount, recordCount).finally(() => {
  isWritten = true
})
let passes = 0
for (; !isWritten; passes++) await readAll(client)
await Promise.all([written, killed])
await until(whenCleaned, { timeoutMs: CLEANED_TIMEOUT_MS })
const { records: recordsLeft, newest } = await readAll(client)
const newestWrong = countNewestWrong(newest)
const end = (await admin.listOffsets(TOPIC, 'latest'))[0]?.offset
await Promise.all([...cluster.nodes.values()].map(node => node.stop()))

const replicas = await Promise.all([...cluster.nodes.keys()].map(segmentsOf))
const sizes = replicas.map(segments => sum(segments, one => one.sizeBytes))
const damaged = await verifyAll()
const kafka = flags['kafka-libs'] === '' ? undefined : await judgeByKafka(flags['kafka-libs'])
const promised: Promised[] = [
  {
    what: `the newest record of each of ${keyCount} keys is there, with its value`,
    measured: newestWrong === 0 ? `${keyCount} of ${keyCount}` : `${newestWrong} are not`,
    isKept: newestWrong === 0,
  },
  {
    what: 'each record that is read, before, during and after, stands at the offset that was acknowledged for it',
    measured: wrong.length === 0 ? 'so it was' : `${wrong.length} findings`,
    isKept: wrong.length === 0,
  },
  {
    what: 'the log ends where it would without compaction',
    measured: `${end} of ${recordCount}`,
    isKept: end === recordCount,
  },
  {
    what: 'segments that are closed hold each key once at most, on each replica',
    measured: replicas.map(segments => sum(segments.slice(0, -1), one => one.records)).join(', '),
    isKept: replicas.every(isCompacted),
  },
  {
    what: '`naru log verify` finds nothing on any replica',
    measured: damaged.length === 0 ? 'nothing' : damaged.join('; '),
    isKept: damaged.length === 0,
  },
  ...(kafka === undefined
    ? []
    : [
        {
          what: "Kafka's DumpLogSegments and log classes find nothing wrong on any replica",
          measured: kafka.length === 0 ? 'nothing' : `${kafka.length} complaints`,
          isKept: kafka.length === 0,
        },
      ]),
]
const text = writeReport('compaction', {
  title: 'A compacted topic under reads, writes and a kill',
  story:
    `Three nodes, a process each; a topic of one partition, replication factor 3, segments of 1 MiB. ${beforeCount} of ${recordCount} ` +
    `records over ${keyCount} keys are written; then cleanup.policy is set to compact. While the nodes compact, the rest is written, ` +
    'one reader after the other reads all there is, and the node that leads is ended with SIGKILL at the first file that its ' +
    'cleaner has open, and started again. In the end the nodes stop, and their files are looked at.',
  lines: [
    `- Size of each replica: ${bytesBefore} bytes of ${beforeCount} records before, ${sizes.join(', ')} bytes of ${recordCount} after.`,
    `- Records read in the end: ${recordsLeft}. Whole passes of readers meanwhile: ${passes}.`,
    ...wrong.slice(0, WRONG_MAX).map(one => `- WRONG: ${one}`),
    ...(kafka ?? []).slice(0, WRONG_MAX).map(one => `- KAFKA: ${one}`),
  ],
  promised,
  usage: window.end(),
})
console.log(`\n${text}`)
process.exitCode = promised.every(one => one.isKept) ? 0 : 1

function keyOf(record: number): number {
  return (record * 7919) % keyCount
}

async function write(by: Client, from: number, to: number): Promise<void> {
  await using producer = by.producer()
  for (let first = from; first < to; first += SEND_AT_A_TIME) {
    const sends = Array.from({ length: Math.min(SEND_AT_A_TIME, to - first) }, async (_, at) => {
      const record = first + at
      const { offset } = await producer.send({
        topic: TOPIC,
        key: `k${keyOf(record)}`,
        value: `${record} ${PADDING}`,
      })
      offsets[record] = offset
    })
    await Promise.all(sends)
  }
}

/** From the earliest record to the end of now; what is wrong is noted. */
async function readAll(by: Client): Promise<{ records: number; newest: ReadonlyMap<string, number> }> {
  const newest = new Map<string, number>()
  let records = 0
  let last = -1
  const reader = by.reader({ topic: TOPIC, start: 'earliest', stop: 'currentEnd' })
  for await (const { offset, key, value } of reader) {
    const record = Number.parseInt(String(value), 10)
    const acknowledged = offsets[record] ?? -1
    const isThere = acknowledged === offset || acknowledged === -1
    if (offset <= last) wrong.push(`offset ${offset} is read after ${last}`)
    if (!isThere || String(key) !== `k${keyOf(record)}` || !String(value).endsWith(PADDING))
      wrong.push(
        `record ${record} of key ${key} is read at offset ${offset}, acknowledged at ${acknowledged}`,
      )
    last = offset
    records++
    newest.set(String(key), record)
  }
  return { records, newest }
}

function countNewestWrong(newest: ReadonlyMap<string, number>): number {
  const expected = new Map<string, number>()
  for (let record = 0; record < recordCount; record++) expected.set(`k${keyOf(record)}`, record)
  return [...expected].filter(([key, record]) => newest.get(key) !== record).length
}

async function leaderId(): Promise<number> {
  return await until(async () => {
    const [topic] = await admin.describeTopics([TOPIC])
    return topic?.partitions[0]?.leader
  })
}

async function killWhileCleaning(nodeId: number): Promise<void> {
  await until(async () => {
    const names = await readdir(directoryOf(nodeId))
    return names.some(name => /\.(cleaned|swap)$/.test(name)) ? true : undefined
  })
  const node = cluster.node(nodeId)
  await node.kill()
  console.log(`node ${nodeId}, which led, was killed while it compacted`)
  await node.start()
}

/** Files may come and go while they are looked at: then it is asked again. */
async function whenCleaned(): Promise<true | undefined> {
  for (const nodeId of cluster.nodes.keys()) if (!isCompacted(await segmentsOf(nodeId))) return undefined
  return true
}

function isCompacted(segments: readonly SegmentReport[]): boolean {
  return sum(segments.slice(0, -1), one => one.records) <= keyCount
}

function directoryOf(nodeId: number): string {
  return join(cluster.node(nodeId).dataDirectory, 'topics', `${TOPIC}-0`)
}

async function segmentsOf(nodeId: number): Promise<SegmentReport[]> {
  const files = (await tools.segmentFiles(directoryOf(nodeId))).sort()
  const reports: SegmentReport[] = []
  for (const file of files) reports.push(await tools.verify(file, { isLast: file === files.at(-1) }))
  return reports
}

async function verifyAll(): Promise<string[]> {
  const program = join(REPOSITORY, 'bin/naru.js')
  const found: string[] = []
  for (const nodeId of cluster.nodes.keys()) {
    try {
      await promisify(execFile)(process.execPath, [program, 'log', 'verify', directoryOf(nodeId)])
    } catch (thrown) {
      found.push(`node ${nodeId}: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
    }
  }
  return found
}

async function judgeByKafka(libs: string): Promise<string[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'naru-compaction-'))
  const complaints: string[] = []
  try {
    for (const [at, nodeId] of [...cluster.nodes.keys()].entries()) {
      const expected = {
        directory: directoryOf(nodeId),
        startOffset: 0,
        endOffset: recordCount,
        recordCount: sum(replicas[at] ?? [], one => one.records),
      }
      complaints.push(...(await checkPartitions(new KafkaTools(libs), [expected], scratch)).complaints)
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
  return complaints
}

function sum(segments: readonly SegmentReport[], of: (one: SegmentReport) => number): number {
  return segments.reduce((total, one) => total + of(one), 0)
}
