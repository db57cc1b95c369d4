import type { Epoch, MetadataIndex, Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { CheckpointFile } from '../../log/checkpoint-file.ts'
import { DEFAULT_LOG_CONFIG, type LogConfig } from '../../log/log-config.ts'
import type { LogEvent } from '../../log/log-core.ts'
import { type OffsetEntry, offsetCheckpoint } from '../../log/offset-checkpoint.ts'
import { type LogResources, PartitionLog } from '../../log/partition-log.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { type Disk, DiskError } from '../../ports/disk.ts'
import { BatchBuilder } from '../../records/batch-builder.ts'
import { lastOffsetAt } from '../../records/batch-header.ts'
import { batchPositions } from '../../records/batch-positions.ts'
import { decodeBatch } from '../../records/decode-batch.ts'
import type { MetadataEntry, MetadataLog, MetadataLogListener } from './metadata-log.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from './metadata-record-codec.ts'

const RECOVERY_POINT_INTERVAL_MS = 60_000
const READ_BYTES_MAX = 1024 * 1024

/** Metadata are kept until a snapshot takes their place, whatever holds for topics. */
const LOG_CONFIG: LogConfig = {
  ...DEFAULT_LOG_CONFIG,
  segmentMs: Number.MAX_SAFE_INTEGER,
  retentionMs: undefined,
}

/**
 * The metadata log of a quorum of one: an entry is committed once it is synced here. The files are those of a
 * partition (`raft/`, same segment format, epoch = term); one entry is one batch, each of its records one record.
 *
 * Invariant: every process that leads has a term of its own, higher than those before, so that terms in the log
 * mean what they will mean among several voters.
 */
export class SingleVoterLog implements MetadataLog {
  readonly #log: PartitionLog
  readonly #clock: Clock
  readonly #term: Epoch
  readonly #listener: MetadataLogListener
  readonly #recoveryPoint: RecoveryPoint
  #timer: Timer | undefined
  #closed = false

  private constructor(options: {
    log: PartitionLog
    clock: Clock
    listener: MetadataLogListener
    recoveryPoint: RecoveryPoint
  }) {
    this.#log = options.log
    this.#recoveryPoint = options.recoveryPoint
    this.#clock = options.clock
    this.#listener = options.listener
    this.#term = (options.log.latestEpoch ?? 0) + 1
  }

  /** Opens the log and hands what it holds to `onEntry`, in order; all of it is committed. */
  static async open(options: SingleVoterLogOptions): Promise<SingleVoterLog> {
    const { clock, listener, onEntry, directory } = options
    const recoveryPoint = new RecoveryPoint(options.resources.disk, directory)
    let opened: SingleVoterLog | undefined
    const log = await PartitionLog.open({
      resources: options.resources,
      directory: options.directory,
      name: 'metadata',
      config: LOG_CONFIG,
      urgent: true,
      // Read whole at each start anyway. Only what was written since the recovery point may be a torn end: a bad batch
      // below it is damage, and must not be cut off with all the metadata behind it.
      cleanStop: false,
      recoveryPoint: await recoveryPoint.read(),
      checkpoint: async () => {},
      onProgress: () => {
        if (opened) opened.#onProgress()
      },
      onEvent: event => {
        if (opened && (event.kind === 'offline' || event.kind === 'quarantined'))
          opened.#onFailed(event.error)
        options.onEvent(event)
      },
    })
    if (log.failure) throw log.failure
    await replay(log, onEntry)
    await recoveryPoint.write(log.syncedEndOffset)
    opened = new SingleVoterLog({ log, clock, listener, recoveryPoint })
    opened.#noteLater()
    return opened
  }

  get endIndex(): MetadataIndex {
    return this.#log.logEndOffset
  }

  append(records: readonly MetadataRecord[]): MetadataIndex {
    const builder = new BatchBuilder()
    const wallMs = this.#clock.wallMs()
    for (const record of records) builder.append({ value: encodeMetadataRecord(record), timestamp: wallMs })
    this.#log.appendAsLeader(builder.build(), { leaderEpoch: this.#term, wallMs })
    return this.#log.logEndOffset
  }

  /** What is appended is written, synced and reported as committed first: its callers get their answers. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    const isWhole = await this.#log.close()
    this.#closed = true
    if (isWhole) await this.#note()
  }

  /** Now and then; what a start finds good beyond the point is durable all the same. */
  #noteLater(): void {
    this.#timer = this.#clock.setTimer(RECOVERY_POINT_INTERVAL_MS, () => {
      if (!this.#closed) void this.#note().then(() => this.#noteLater())
    })
  }

  /** The epoch checkpoint first: a recovery trusts it up to the recovery point. Without room both stay as they are. */
  async #note(): Promise<void> {
    if (this.#log.failure) return
    const { syncedEndOffset } = this.#log
    try {
      await this.#log.writeEpochs()
      if (!this.#log.failure) await this.#recoveryPoint.write(syncedEndOffset)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
    }
  }

  #onProgress(): void {
    if (this.#closed) return
    this.#log.highWatermark = this.#log.syncedEndOffset
    this.#listener.onCommitted(this.#log.highWatermark)
  }

  #onFailed(error: NaruError): void {
    if (!this.#closed) this.#listener.onFailed(error)
  }
}

export interface SingleVoterLogOptions {
  readonly resources: LogResources
  /** Exists. */
  readonly directory: string
  readonly clock: Clock
  readonly listener: MetadataLogListener
  readonly onEntry: (entry: MetadataEntry) => void
  readonly onEvent: (event: LogEvent) => void
}

/** Below it everything was synced once, as for a partition: a file of the same format, in the log's directory. */
class RecoveryPoint {
  readonly #file: CheckpointFile<OffsetEntry>
  #written: Offset | undefined

  constructor(disk: Disk, directory: string) {
    this.#file = offsetCheckpoint(disk, directory, 'recovery-point')
  }

  async read(): Promise<Offset> {
    const [entry] = (await this.#file.read()) ?? []
    this.#written = entry?.offset
    return entry?.offset ?? 0
  }

  /** Without room or descriptors the old one stays, which claims less. */
  async write(offset: Offset): Promise<void> {
    if (offset === this.#written) return
    try {
      await this.#file.write([{ topic: 'metadata', partition: 0, offset }])
      this.#written = offset
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
    }
  }
}

async function replay(log: PartitionLog, onEntry: (entry: MetadataEntry) => void): Promise<void> {
  let from: Offset = log.logStartOffset
  while (from < log.logEndOffset) {
    const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes: READ_BYTES_MAX })
    for (const buffer of slice.buffers) {
      for (const at of batchPositions(buffer)) onEntry(entryAt(buffer, at))
    }
    from = slice.nextOffset
  }
}

function entryAt(buffer: Buffer, at: number): MetadataEntry {
  const records = decodeBatch(buffer, at).map(record => decodeMetadataRecord(record.value ?? Buffer.alloc(0)))
  return { records, endIndex: lastOffsetAt(buffer, at) + 1 }
}
