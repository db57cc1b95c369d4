import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach } from 'vitest'
import { IndexCache } from '../../src/log/index-cache.ts'
import { DEFAULT_LOG_CONFIG, type LogConfig } from '../../src/log/log-config.ts'
import type { LogEvent, LogProgress } from '../../src/log/log-core.ts'
import { type LogSlice, TailBudget } from '../../src/log/log-tail.ts'
import { OpenFiles } from '../../src/log/open-files.ts'
import { type LogResources, PartitionLog, type PartitionLogOptions } from '../../src/log/partition-log.ts'
import { SyncScheduler } from '../../src/log/sync-scheduler.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { Disk } from '../../src/ports/disk.ts'
import { NodeDisk } from '../../src/ports/node-disk.ts'
import { SystemClock } from '../../src/ports/system-clock.ts'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { batchPositions } from '../../src/records/batch-positions.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'

/** A log on a disk with everything that a data directory would give it, and what it told. */
export interface LogFixture {
  readonly log: PartitionLog
  readonly events: LogEvent[]
  readonly progress: LogProgress[]
  readonly resources: LogResources
  /** Recovery point and log start as the last checkpoint has them. */
  readonly checkpointed: { recoveryPoint: number; logStartOffset: number }
}

export type FixtureOptions = Omit<Partial<PartitionLogOptions>, 'config'> & {
  readonly disk?: Disk
  readonly clock?: Clock
  readonly config?: Partial<LogConfig>
  readonly tailBytesMax?: number
  readonly tailsTotalBytesMax?: number
  readonly openFilesMax?: number
  readonly directory: string
}

export function logResources(disk: Disk, clock: Clock, options: Partial<FixtureOptions> = {}): LogResources {
  return {
    disk,
    clock,
    scheduler: new SyncScheduler({ clock }),
    files: new OpenFiles({ disk, openFilesMax: options.openFilesMax ?? 16 }),
    indexCache: new IndexCache({ indexBytesMax: 64 * 1024 }),
    tailBudget: new TailBudget({
      tailBytesMax: options.tailBytesMax ?? 0,
      tailsTotalBytesMax: options.tailsTotalBytesMax ?? 1024 * 1024,
    }),
  }
}

/** Opens a log (by default with an empty tail, so that reads go to the files). */
export async function openLog(options: FixtureOptions): Promise<LogFixture> {
  const disk = options.disk ?? new NodeDisk()
  const clock = options.clock ?? new SystemClock()
  const resources = options.resources ?? logResources(disk, clock, options)
  const events: LogEvent[] = []
  const progress: LogProgress[] = []
  const checkpointed = {
    recoveryPoint: options.recoveryPoint ?? 0,
    logStartOffset: options.logStartOffset ?? 0,
  }
  const { config, ...rest } = options
  let log: PartitionLog | undefined
  log = await PartitionLog.open({
    name: 'orders-0',
    cleanStop: false,
    checkpoint: async () => {
      checkpointed.recoveryPoint = log?.recoveryPoint ?? checkpointed.recoveryPoint
      checkpointed.logStartOffset = log?.logStartOffset ?? checkpointed.logStartOffset
    },
    onProgress: step => progress.push(step),
    onEvent: event => events.push(event),
    ...rest,
    resources,
    config: { ...DEFAULT_LOG_CONFIG, indexIntervalBytes: 256, ...config },
  })
  return { log, events, progress, resources, checkpointed }
}

export interface BatchOptions {
  readonly count?: number
  readonly valueBytes?: number
  readonly timestamp?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly baseOffset?: number
  readonly leaderEpoch?: number
  readonly value?: string
}

/** A batch of records whose values are `value` (or their index), padded to `valueBytes`. */
export function makeBatch(options: BatchOptions = {}): Buffer {
  const builder = new BatchBuilder()
  for (let at = 0; at < (options.count ?? 1); at++) {
    const value = (options.value ?? String(at)).padEnd(options.valueBytes ?? 0, '.')
    builder.append({ value: Buffer.from(value), timestamp: (options.timestamp ?? 1_700_000_000_000) + at })
  }
  const { producerId, producerEpoch, baseSequence, baseOffset, leaderEpoch } = options
  return builder.build({
    ...(producerId === undefined
      ? {}
      : { producerId, producerEpoch: producerEpoch ?? 0, baseSequence: baseSequence ?? 0 }),
    ...(baseOffset === undefined ? {} : { baseOffset }),
    ...(leaderEpoch === undefined ? {} : { leaderEpoch }),
  })
}

export function append(log: PartitionLog, options: BatchOptions & { leaderEpoch?: number } = {}) {
  return log.appendAsLeader(makeBatch(options), {
    leaderEpoch: options.leaderEpoch ?? 1,
    wallMs: 1_700_000_000_000,
  })
}

/** Resolves when everything appended is synced. */
export async function synced(fixture: LogFixture): Promise<void> {
  await fixture.resources.scheduler.idle()
}

/** All records of the log as `offset:value`, read in small pieces. */
export async function readAll(log: PartitionLog, maxBytes = 500): Promise<string[]> {
  const records: string[] = []
  let from = log.logStartOffset
  while (from < log.logEndOffset) {
    const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes })
    if (slice.buffers.length === 0) throw new Error(`nothing at ${from}`)
    for (const record of recordsOf(slice)) {
      if (record.offset >= from) records.push(`${record.offset}:${record.value}`)
    }
    from = slice.nextOffset
  }
  return records
}

export function recordsOf(slice: LogSlice): { offset: number; value: string }[] {
  const records: { offset: number; value: string }[] = []
  for (const buffer of slice.buffers) {
    for (const at of batchPositions(buffer)) {
      for (const record of decodeBatch(buffer, at)) {
        records.push({ offset: record.offset, value: String(record.value).replace(/\.+$/, '') })
      }
    }
  }
  return records
}

const directories: string[] = []

/** A directory on the machine's disk that is gone after the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(`${tmpdir()}/naru-log-`)
  directories.push(directory)
  return directory
}

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})
