import type { LogConfig } from '../../src/log/log-config.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { writeFileAtomically } from '../../src/ports/disk.ts'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { batchPositions } from '../../src/records/batch-positions.ts'
import type { Compression } from '../../src/records/codecs.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import type { SimMachine } from '../harness/sim-machine.ts'
import { type LogFixture, openLog } from './log-harness.ts'

/** Value `null`: a tombstone. */
export type Keyed = readonly [key: string, value: string | null]

export interface KeyedOptions {
  readonly producerId?: number
  readonly baseSequence?: number
  readonly leaderEpoch?: number
  readonly timestamp?: number
  readonly compression?: Compression
}

export const KEYED_TIME_MS = 1_700_000_000_000

export function keyedBatch(records: readonly Keyed[], options: KeyedOptions = {}): Buffer {
  const builder = new BatchBuilder()
  for (const [at, [key, value]] of records.entries()) {
    builder.append({
      key: Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
      timestamp: (options.timestamp ?? KEYED_TIME_MS) + at,
      headers: [{ key: 'h', value: Buffer.from(key) }],
    })
  }
  const { producerId, baseSequence = 0, compression = 'none' } = options
  return builder.build({
    compression,
    ...(producerId === undefined ? {} : { producerId, producerEpoch: 0, baseSequence }),
  })
}

export function appendKeyed(log: PartitionLog, records: readonly Keyed[], options: KeyedOptions = {}) {
  return log.appendAsLeader(keyedBatch(records, options), {
    leaderEpoch: options.leaderEpoch ?? 1,
    wallMs: KEYED_TIME_MS,
  })
}

export interface FoundRecord {
  readonly offset: number
  readonly key: string
  readonly value: string | null
  readonly timestamp: number
}

/** All records from the log's start on, as a reader gets them. */
export async function readKeyed(log: PartitionLog, maxBytes = 500): Promise<FoundRecord[]> {
  const found: FoundRecord[] = []
  for (let from = log.logStartOffset; from < log.logEndOffset; ) {
    const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes })
    if (slice.nextOffset <= from) throw new Error(`nothing at ${from}`)
    for (const buffer of slice.buffers) {
      for (const at of batchPositions(buffer)) {
        for (const { offset, key, value, timestamp } of decodeBatch(buffer, at)) {
          if (offset >= from)
            found.push({ offset, key: String(key), value: value && String(value), timestamp })
        }
      }
    }
    from = slice.nextOffset
  }
  return found
}

export function brief(records: readonly FoundRecord[]): string[] {
  return records.map(({ offset, key, value }) => `${offset} ${key}=${value ?? '-'}`)
}

/** Cleans what may be cleaned, whatever its share; false where nothing was to be done. */
export async function cleanNow(
  log: PartitionLog,
  options: { wallMs?: number; keyMapBytesMax?: number; onPace?: () => void } = {},
): Promise<boolean> {
  const wallMs = options.wallMs ?? KEYED_TIME_MS
  const plan = await log.planCleaning(wallMs)
  if (!plan) return false
  await log.clean(plan, {
    wallMs,
    keyMapBytesMax: options.keyMapBytesMax ?? 64 * 1024,
    pace: async () => options.onPace?.(),
    isStopped: () => false,
  })
  return true
}

export interface CompactedFixture extends LogFixture {
  /** Raises the checkpointed recovery point, as the data directory does from time to time. */
  raise(): Promise<void>
}

export const COMPACTED_DIRECTORY = 'data/orders-0'
const CHECKPOINT = 'data/checkpoint'

/** A compacted log on the disk of a simulated machine, with a checkpoint that outlives its process. */
export async function openCompacted(
  machine: SimMachine,
  config: Partial<LogConfig> = {},
): Promise<CompactedFixture> {
  const { disk, clock } = machine
  await disk.makeDirectory(COMPACTED_DIRECTORY)
  await disk.syncDirectory('data')
  await disk.syncDirectory('.')
  const content = await disk.readFile(CHECKPOINT)
  const known = content
    ? JSON.parse(content.toString())
    : { recoveryPoint: 0, logStartOffset: 0, highWatermark: 0 }
  const write = () => writeFileAtomically(disk, CHECKPOINT, Buffer.from(JSON.stringify(known)))
  let fixture: LogFixture | undefined
  fixture = await openLog({
    disk,
    clock,
    directory: COMPACTED_DIRECTORY,
    ...known,
    config: { segmentBytes: 400, indexIntervalBytes: 100, compacted: true, ...config },
    checkpoint: async () => {
      known.recoveryPoint = Math.min(known.recoveryPoint, fixture?.log.recoveryPoint ?? 0)
      known.logStartOffset = fixture?.log.logStartOffset ?? 0
      await write()
    },
  })
  const { log } = fixture
  const raise = async (): Promise<void> => {
    const { recoveryPoint } = log
    await log.writeEpochs()
    known.recoveryPoint = Math.min(recoveryPoint, log.recoveryPoint)
    known.highWatermark = log.highWatermark
    await write()
  }
  return { ...fixture, raise }
}

/** The same machine without the files that follow from the segments. */
export async function removeDerived(machine: SimMachine): Promise<void> {
  for (const { name } of await machine.disk.list(COMPACTED_DIRECTORY)) {
    if (/\.(index|timeindex|snapshot)$|^leader-epoch/.test(name))
      await machine.disk.remove(`${COMPACTED_DIRECTORY}/${name}`)
  }
}

export function derivedState(log: PartitionLog): unknown {
  const { logEndOffset, logStartOffset, epochEntries } = log
  return { logEndOffset, logStartOffset, epochEntries, producers: [...log.producerEntries] }
}
