import { assert } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import { readJsonFile, writeJsonFile } from '../../log/json-file.ts'
import { DEFAULT_LOG_CONFIG, type LogConfig } from '../../log/log-config.ts'
import type { LogEvent } from '../../log/log-core.ts'
import { type LogResources, PartitionLog } from '../../log/partition-log.ts'
import { DiskError } from '../../ports/disk.ts'
import type { LogEntry, LogPosition } from '../../raft/messages.ts'
import { batchPositions } from '../../records/batch-positions.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'
import { decodeEntry, encodeEntry } from './raft-entry-codec.ts'

const STATE_VERSION = 1
const READ_BYTES_MAX = 1024 * 1024

export interface RaftLogFilesOptions {
  readonly resources: LogResources
  readonly directory: string
  readonly segmentBytes?: number
  readonly onEvent: (event: LogEvent) => void
}

/**
 * The entries of a Raft log as a partition log: entry `i` at offset `i - 1`. Beside it the file `log-state`:
 * below which offset all was synced once (a log that ends lower has lost something), where the log starts, and the
 * term of the entry before that, which is the only thing that is still needed of it.
 *
 * One owner, who starts nothing before what it asked for last has resolved.
 */
export class RaftLogFiles {
  readonly #options: RaftLogFilesOptions
  readonly #log: PartitionLog
  /** Positions that the log starts behind, now or after the cut under way. */
  #starts: readonly LogPosition[]
  /** As the file has it: raised by `checkpoint` only, with the epochs that a recovery from there compares with. */
  #recoveryPoint: number
  #givenUp: NaruError | undefined
  #give: () => void = () => {}
  readonly #giving = new Promise<void>(resolve => {
    this.#give = resolve
  })
  #waiting: { endOffset: number; resolve: () => void; reject: (error: Error) => void } | undefined

  private constructor(options: RaftLogFilesOptions, log: PartitionLog, saved: LogState) {
    this.#options = options
    this.#log = log
    this.#starts = [{ index: log.logStartOffset, term: saved.logStartTerm }]
    this.#recoveryPoint = saved.recoveryPoint
  }

  static async open(options: RaftLogFilesOptions): Promise<{ files: RaftLogFiles; startIsKnown: boolean }> {
    const { resources, directory } = options
    const state = await readState(options)
    let files: RaftLogFiles | undefined
    const log = await PartitionLog.open({
      resources,
      directory,
      name: 'metadata',
      config: { ...CONFIG, segmentBytes: options.segmentBytes ?? CONFIG.segmentBytes },
      urgent: true,
      recoveryPoint: state.recoveryPoint,
      logStartOffset: state.logStartOffset,
      // A few segments at most lie above the recovery point: cheaper to scan than to prove that nobody need.
      cleanStop: false,
      checkpoint: async () => files?.lowerState(),
      onProgress: () => files?.onProgress(),
      onEvent: event => {
        if (event.kind === 'offline' || event.kind === 'quarantined') files?.onFailed(event.error)
        options.onEvent(event)
      },
    })
    if (log.failure) {
      await log.close()
      if (log.failure.reason === 'CORRUPT_DATA') throw new CorruptRaftData(log.failure.message)
      throw log.failure
    }
    files = new RaftLogFiles(options, log, state)
    return { files, startIsKnown: log.logStartOffset === state.logStartOffset }
  }

  get start(): LogPosition {
    return this.#starts[0] as LogPosition
  }

  get lastIndex(): number {
    return this.#log.logEndOffset
  }

  /** Since when one write or sync has been under way, monotonic (rule B6). */
  get outstandingSinceMs(): number | undefined {
    return this.#log.outstandingSinceMs
  }

  async readAll(): Promise<LogEntry[]> {
    const log = this.#log
    const entries: LogEntry[] = []
    let from = log.logStartOffset
    while (from < log.logEndOffset) {
      const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes: READ_BYTES_MAX })
      for (const buffer of slice.buffers) {
        for (const at of batchPositions(buffer)) {
          const entry = decodeEntry(buffer, at)
          if (entry.index > log.logStartOffset) entries.push(entry)
        }
      }
      assert(slice.nextOffset > from, 'a read of a log that holds more brings more')
      from = slice.nextOffset
    }
    return entries
  }

  /** Puts the entries where they belong, cutting off what is in their place, and resolves when they are durable. */
  async write(entries: readonly LogEntry[]): Promise<void> {
    const first = entries[0]
    if (!first) return
    const log = this.#log
    if (first.index <= this.lastIndex) {
      const endOffset = await log.truncateTo(first.index - 1)
      assert(endOffset === first.index - 1, 'a raft log is cut between any two entries')
    }
    const wallMs = this.#options.resources.clock.wallMs()
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, `entry ${entry.index} written after ${this.lastIndex}`)
      if (!log.hasRoom && !log.failure) await Promise.race([log.room(), this.#giving])
      if (this.#givenUp) throw this.#givenUp
      log.appendAsLeader(encodeEntry(entry, wallMs), { leaderEpoch: entry.term, wallMs })
    }
    await this.#synced()
  }

  /** Everything goes; the next entry is the one behind `position`. */
  async restartBehind(position: LogPosition): Promise<void> {
    await this.#moveStart(position, () => this.#log.resetTo(position.index))
  }

  /** Entries up to `index`, inclusive, go: a durable snapshot stands for them. */
  async removeThrough(index: number): Promise<void> {
    if (index <= this.start.index) return
    assert(index <= this.#log.syncedEndOffset, 'only durable entries are compacted')
    // Tried again after a full disk, the log starts there already and knows of nothing before.
    const term = this.#starts.find(start => start.index === index)?.term ?? this.#log.epochAt(index - 1)
    assert(term !== undefined, `the term of entry ${index} is known`)
    this.#log.highWatermark = Math.max(this.#log.highWatermark, index)
    await this.#moveStart({ index, term }, async () => {
      await this.#log.deleteRecordsBefore(index)
    })
  }

  async close(): Promise<void> {
    // Else (a full disk) the epochs on the disk may be older than the recovery point of now: a start that trusts the one up to
    // the other would find damage.
    const isClean = await this.#log.close()
    if (!isClean || this.#log.failure) return
    try {
      await this.#writeState(this.#log.recoveryPoint)
    } catch (thrown) {
      // The note that is there stays true, it only says less.
      if (!(thrown instanceof DiskError)) throw thrown
    }
  }

  /** Notes what is synced by now: at the next start it must be there. */
  async checkpoint(): Promise<void> {
    const { recoveryPoint } = this.#log
    if (recoveryPoint === this.#recoveryPoint) return
    await this.#log.writeEpochs()
    await this.#writeState(recoveryPoint)
  }

  /** Before bytes go: the note claims no more than what stays. */
  async lowerState(): Promise<void> {
    await this.#writeState(Math.min(this.#recoveryPoint, this.#log.recoveryPoint))
  }

  async #writeState(recoveryPoint: number): Promise<void> {
    const { resources, directory } = this.#options
    const { logStartOffset } = this.#log
    const start = this.#starts.find(position => position.index === logStartOffset) ?? this.start
    const fields = { recoveryPoint, logStartOffset, logStartTerm: start.term }
    await writeJsonFile(resources.disk, statePath(directory), { version: STATE_VERSION, fields })
    this.#recoveryPoint = recoveryPoint
  }

  onProgress(): void {
    const waiting = this.#waiting
    if (!waiting || this.#log.syncedEndOffset < waiting.endOffset) return
    this.#waiting = undefined
    waiting.resolve()
  }

  /** False while the disk is full, or far behind. */
  get hasRoom(): boolean {
    return this.#log.hasRoom
  }

  /** Ends a write that waits for the disk; what of it is written, is. */
  giveUp(error: NaruError): void {
    this.#givenUp = error
    this.#give()
    this.onFailed(error)
  }

  onFailed(error: NaruError): void {
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }

  #synced(): Promise<void> {
    const log = this.#log
    if (log.failure) return Promise.reject(log.failure)
    if (log.syncedEndOffset >= log.logEndOffset) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiting = { endOffset: log.logEndOffset, resolve, reject }
    })
  }

  async #moveStart(position: LogPosition, work: () => Promise<void>): Promise<void> {
    this.#starts = [this.start, position]
    await work()
    this.#starts = [position]
  }
}

/** The metadata are kept until a snapshot takes their place, whatever holds for topics. */
const CONFIG: LogConfig = {
  ...DEFAULT_LOG_CONFIG,
  segmentBytes: 16 * 1024 * 1024,
  segmentMs: Number.MAX_SAFE_INTEGER,
  retentionMs: undefined,
}

interface LogState {
  readonly recoveryPoint: number
  readonly logStartOffset: number
  readonly logStartTerm: number
}

function statePath(directory: string): string {
  return `${directory}/log-state`
}

/** A new log has none yet. */
async function readState({ resources, directory }: RaftLogFilesOptions): Promise<LogState> {
  const path = statePath(directory)
  try {
    const fields = await readJsonFile(resources.disk, path, STATE_VERSION)
    return {
      recoveryPoint: offsetOf(fields?.['recoveryPoint'] ?? 0, path),
      logStartOffset: offsetOf(fields?.['logStartOffset'] ?? 0, path),
      logStartTerm: offsetOf(fields?.['logStartTerm'] ?? 0, path),
    }
  } catch (thrown) {
    if (!(thrown instanceof NaruError) || thrown.reason !== 'DATA_DIRECTORY_DAMAGED') throw thrown
    throw new CorruptRaftData(thrown.message)
  }
}

function offsetOf(value: string | number, path: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new CorruptRaftData(`${path} holds ${value} as an offset or term`)
}
