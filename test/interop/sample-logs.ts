import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { DEFAULT_LOG_CONFIG, type LogConfig } from '../../src/log/log-config.ts'
import { LogDirectory } from '../../src/log/log-directory.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { NodeDisk } from '../../src/ports/node-disk.ts'
import { SystemClock } from '../../src/ports/system-clock.ts'
import { BatchBuilder, type RecordInput } from '../../src/records/batch-builder.ts'
import { readBatchHeader } from '../../src/records/batch-header.ts'
import { batchPositions } from '../../src/records/batch-positions.ts'
import type { Compression } from '../../src/records/codecs.ts'
import { initCompression } from '../../src/records/compression.ts'
import { stampLogAppendTime } from '../../src/records/stamp-batch.ts'
import { sampleBatches } from '../records/kafka-samples.ts'
import type { ExpectedPartition } from './expected-partition.ts'

/** Small, so that a few megabytes are several segments. */
const SEGMENT_BYTES = 256 * 1024
const TOPIC_ID = 'WD3xNCkvQaWDX-VAeIT9Ww'
const BATCH_RECORDS = 120
const NODE_EPOCH = 7
const HOUR_MS = 3600 * 1000

const lines = (name: string) =>
  readFileSync(new URL(`../data/${name}`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')

/**
 * Partition logs written by `src/log` alone, without a node: each compression, odd records, several leader epochs, a
 * truncation, indexes made again from the log, and batches as a Kafka leader made them. Leaves the directory as an
 * orderly stop does.
 */
export async function writeSampleLogs(dataDirectory: string): Promise<ExpectedPartition[]> {
  await initCompression()
  const [access, json] = [lines('apache_access.log'), lines('nginx_json.log')]
  const everything = Array.from({ length: 4 }, () => access).flat()
  let directory = await openDirectory(dataDirectory)
  const logs = new Map<string, PartitionLog>()
  const open = async (topic: string) => {
    const log = await openPartition(directory, topic)
    logs.set(topic, log)
    return log
  }
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
    await appendAll(await open(compression), everything.map(accessRecord), { compression })
  await appendAll(await open('large-values'), json.map(jsonRecord), { compression: 'none' })
  await appendAll(await open('odd-records'), oddRecords(3000), { compression: 'none' })
  await appendAll(await open('log-append-time'), access.map(accessRecord), {
    compression: 'lz4',
    atAppendTime: true,
  })

  const epochs = await open('epochs')
  for (const leaderEpoch of [1, 2, 5])
    await appendAll(epochs, access.map(accessRecord), { compression: 'snappy', leaderEpoch })

  const truncated = await open('truncated')
  await appendAll(truncated, access.map(accessRecord), { compression: 'none', leaderEpoch: 1 })
  await truncated.truncateTo(Math.floor(truncated.logEndOffset / 2))
  await appendAll(truncated, access.map(accessRecord), {
    compression: 'none',
    leaderEpoch: 2,
    producerId: 40,
  })

  const compacted = await writeCompacted(directory)
  await appendFromKafka(await open('from-kafka'))
  await appendAll(await open('reopened'), access.map(accessRecord), { compression: 'none' })
  await directory.close({ nodeEpoch: NODE_EPOCH })

  // A second life makes the derived files of this one again, and goes on writing.
  for (const name of [
    '00000000000000000000.index',
    '00000000000000000000.timeindex',
    'leader-epoch-checkpoint',
  ])
    await rm(`${dataDirectory}/topics/reopened-0/${name}`)
  directory = await openDirectory(dataDirectory)
  for (const topic of logs.keys()) await open(topic)
  const reopened = logs.get('reopened')
  if (reopened) await appendAll(reopened, access.map(accessRecord), { compression: 'gzip', producerId: 50 })
  await directory.close({ nodeEpoch: NODE_EPOCH })
  return [...[...logs.values()].map(expectedOf), compacted]
}

/** Cleaned twice, the second time with merged segments and without the tombstones of the first. */
async function writeCompacted(directory: LogDirectory): Promise<ExpectedPartition> {
  const log = await openPartition(directory, 'compacted', { compacted: true, deleteRetentionMs: 0 })
  for (const [round, compression] of (['none', 'lz4', 'zstd'] as const).entries()) {
    const records = Array.from({ length: 30_000 }, (_, index): RecordInput => {
      // Keys of the first round alone: their tombstones are the newest when the second round is cleaned.
      const isGone = round === 0 && index >= 1000 && index < 2000
      const key = Buffer.from(isGone ? `gone ${index % 100}` : `key ${(index * 7919 + round * 31) % 1000}`)
      const isTombstone = isGone ? index >= 1900 : index % 11 === 0
      const value = isTombstone ? null : Buffer.from(`value ${round} ${index} `.repeat(1 + (index % 9)))
      return { key, value, timestamp: startedMs + index }
    })
    await appendAll(log, records, { compression, leaderEpoch: round, producerId: 60 + round * 3 })
    log.highWatermark = log.logEndOffset
    await directory.clean()
  }
  let recordCount = 0
  for (let from = log.logStartOffset; from < log.logEndOffset; ) {
    const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes: 1024 * 1024 })
    for (const buffer of slice.buffers)
      for (const at of batchPositions(buffer)) recordCount += readBatchHeader(buffer, at).recordCount
    from = slice.nextOffset
  }
  if (recordCount > log.logEndOffset / 4) throw new Error(`${recordCount} records are left`)
  if (log.removedTombstonesEnd === 0) throw new Error('no tombstone was removed')
  return { ...expectedOf(log), recordCount }
}

function openDirectory(dataDirectory: string): Promise<LogDirectory> {
  return LogDirectory.open({
    disk: new NodeDisk(),
    clock: new SystemClock(),
    dataDirectory,
    // What memory still has of the newest records is given out as it was.
    limits: { tailBytesMax: 0, cleanerBytesPerSecond: Number.MAX_SAFE_INTEGER },
    onError: error => {
      throw error
    },
  })
}

function openPartition(
  directory: LogDirectory,
  topic: string,
  config: Partial<LogConfig> = {},
): Promise<PartitionLog> {
  return directory.openPartition({
    topic,
    topicId: TOPIC_ID,
    partition: 0,
    config: { ...DEFAULT_LOG_CONFIG, segmentBytes: SEGMENT_BYTES, retentionMs: undefined, ...config },
    onProgress() {},
    onEvent(event) {
      if (event.kind === 'offline' || event.kind === 'quarantined') throw event.error
    },
  })
}

interface AppendOptions {
  readonly compression: Compression
  readonly leaderEpoch?: number
  /** The batches come from this producer and the next two in turn, each in an epoch of its own. */
  readonly producerId?: number
  readonly atAppendTime?: boolean
}

async function appendAll(
  log: PartitionLog,
  records: readonly RecordInput[],
  options: AppendOptions,
): Promise<void> {
  const { compression, leaderEpoch = log.latestEpoch ?? 0, producerId = 30 } = options
  // Whoever begins at sequence 0 again has a new epoch.
  const producerEpoch = log.latestEpoch === undefined ? 0 : leaderEpoch + 1
  const nextSequences = [0, 0, 0]
  const builder = new BatchBuilder()
  for (let from = 0, turn = 0; from < records.length; from += BATCH_RECORDS, turn = (turn + 1) % 3) {
    const some = records.slice(from, from + BATCH_RECORDS)
    for (const record of some) builder.append(record)
    const baseSequence = nextSequences[turn] ?? 0
    nextSequences[turn] = baseSequence + some.length
    const batch = builder.build({ compression, producerId: producerId + turn, producerEpoch, baseSequence })
    if (options.atAppendTime) stampLogAppendTime(batch, 0, Date.now())
    if (!log.hasRoom) await log.room()
    log.appendAsLeader(batch, { leaderEpoch, wallMs: Date.now() })
  }
  await synced(log)
}

/** As a follower would get them from a Kafka leader: offsets, epochs and producers as they stand in the batches. */
async function appendFromKafka(log: PartitionLog): Promise<void> {
  log.appendAsFollower(sampleBatches('rolled'), { leaderEpoch: 2 ** 31 - 1, wallMs: Date.now() })
  await synced(log)
}

async function synced(log: PartitionLog): Promise<void> {
  while (log.syncedEndOffset < log.logEndOffset) {
    if (log.failure) throw log.failure
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

const startedMs = Date.now() - HOUR_MS

/** The key is the client's address; one header says where the line was. */
function accessRecord(line: string, index: number): RecordInput {
  return {
    key: Buffer.from(line.slice(0, line.indexOf(' '))),
    value: Buffer.from(line),
    timestamp: startedMs + index,
    headers: [{ key: 'line', value: Buffer.from(String(index + 1)) }],
  }
}

function jsonRecord(line: string, index: number): RecordInput {
  return { value: Buffer.from(line), timestamp: startedMs + index }
}

function oddRecords(count: number): RecordInput[] {
  return Array.from({ length: count }, (_, index) => ({
    key: [null, Buffer.alloc(0), Buffer.from(`열쇠 ${index}`)][index % 3] ?? null,
    value:
      [Buffer.from('나루 '.repeat(index % 50)), null, Buffer.alloc(0), Buffer.alloc(index)][index % 4] ??
      null,
    // Out of order: the time index may hold only what rises.
    timestamp: startedMs + ((index * 7919) % count),
    headers:
      index % 5 === 0
        ? [
            { key: 'same', value: Buffer.from('a') },
            { key: 'same', value: null },
            { key: '머리', value: Buffer.alloc(0) },
          ]
        : [],
  }))
}

function expectedOf(log: PartitionLog): ExpectedPartition {
  return {
    directory: log.directory,
    startOffset: log.logStartOffset,
    endOffset: log.logEndOffset,
    topicId: TOPIC_ID,
    epochs: log.epochEntries.map(entry => `${entry.epoch}@${entry.startOffset}`),
  }
}
