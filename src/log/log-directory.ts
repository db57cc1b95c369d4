import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Timer } from '../ports/clock.ts'
import { DiskError } from '../ports/disk.ts'
import { takeCleanShutdown, writeCleanShutdown } from './clean-shutdown-file.ts'
import { DeletedPartitions } from './deleted-partitions.ts'
import { IndexCache } from './index-cache.ts'
import { LogCleaner } from './log-cleaner.ts'
import {
  LOG_DIRECTORY_LIMITS,
  type LogDirectoryLimits,
  type LogDirectoryOptions,
  type PartitionOpenOptions,
  type UnopenedPartition,
} from './log-directory-options.ts'
import { offlineLog, shortage } from './log-failures.ts'
import {
  DELETED_SUFFIX,
  LOG_SUFFIX,
  offsetFileName,
  parsePartitionDirectoryName,
  partitionDirectoryName,
} from './log-file-names.ts'
import { LogScrubber } from './log-scrubber.ts'
import { TailBudget } from './log-tail.ts'
import { OpenFiles } from './open-files.ts'
import { PartitionCheckpoints } from './partition-checkpoints.ts'
import { PartitionDirectories, type PartitionPlace } from './partition-directories.ts'
import { type LogResources, PartitionLog } from './partition-log.ts'
import { SerialQueues } from './serial-queue.ts'
import { SyncScheduler } from './sync-scheduler.ts'

/**
 * All partition logs of one data directory, what they share (sync scheduler, descriptors, memory), and the work in
 * the background: checkpoints, retention, scrubbing, the removal of what was deleted.
 * Invariants: one open log per directory; operations on one partition run one after the other; the clean-shutdown
 * mark is written only if every log, opened in this life or not, is known to be whole.
 * A failed write or sync in one log takes all of them offline: they are on the same disk.
 */
export class LogDirectory {
  readonly #options: LogDirectoryOptions
  readonly #limits: LogDirectoryLimits
  readonly #resources: LogResources
  readonly #checkpoints: PartitionCheckpoints
  readonly #deleted: DeletedPartitions
  readonly #directories: PartitionDirectories
  readonly #scrubber: LogScrubber
  readonly #cleaner: LogCleaner
  readonly #logs = new Map<string, PartitionLog>()
  /** Of the logs that are open. */
  readonly #topicIds = new Map<string, Uuid>()
  /** By the partition's name. */
  readonly #queues = new SerialQueues()
  /** Directories found at the start and not opened since: as the last life left them. */
  readonly #unopened = new Set<string>()
  /** Closed in this life: whether that succeeded. */
  readonly #closedClean = new Map<string, boolean>()
  readonly #timers = new Set<Timer>()
  readonly #waitingOpens: (() => void)[] = []
  #cleanStopNodeEpoch: number | undefined
  #opensInFlight = 0
  #offline: unknown
  #closed = false

  private constructor(
    options: LogDirectoryOptions,
    found: { checkpoints: PartitionCheckpoints; cleanStopNodeEpoch: number | undefined; names: string[] },
  ) {
    const { disk, clock } = options
    this.#options = options
    this.#limits = { ...LOG_DIRECTORY_LIMITS, ...options.limits }
    this.#checkpoints = found.checkpoints
    this.#cleanStopNodeEpoch = found.cleanStopNodeEpoch
    const { openFilesMax, indexBytesMax, tailBytesMax, tailsTotalBytesMax, syncsInFlightMax } = this.#limits
    this.#resources = {
      disk,
      clock,
      scheduler: new SyncScheduler({ clock, syncsInFlightMax }),
      files: new OpenFiles({ disk, openFilesMax }),
      indexCache: new IndexCache({ indexBytesMax }),
      tailBudget: new TailBudget({ tailBytesMax, tailsTotalBytesMax }),
    }
    const keepMs = this.#limits.deletedKeepMs
    const topicsDirectory = `${options.dataDirectory}/topics`
    this.#deleted = new DeletedPartitions({ disk, clock, topicsDirectory, keepMs })
    for (const name of found.names) {
      if (name.endsWith(DELETED_SUFFIX)) this.#deleted.noteFound(name)
      else if (parsePartitionDirectoryName(name)) this.#unopened.add(name)
    }
    this.#directories = new PartitionDirectories({
      disk,
      topicsDirectory,
      checkpoints: this.#checkpoints,
      deleted: this.#deleted,
      names: this.#unopened,
    })
    const { scrubBytesPerSecond: bytesPerSecond, scrubRestMs: restMs } = this.#limits
    const { onError } = options
    this.#scrubber = new LogScrubber({
      clock,
      logs: () => this.#logs.values(),
      bytesPerSecond,
      restMs,
      onError,
    })
    this.#cleaner = new LogCleaner({
      clock,
      logs: () => this.#logs.values(),
      keyMapBytesMax: this.#limits.cleanerKeyMapBytesMax,
      bytesPerSecond: this.#limits.cleanerBytesPerSecond,
      onError,
    })
  }

  /** Reads the checkpoints and starts the background work; partitions are opened one by one. */
  static async open(options: LogDirectoryOptions): Promise<LogDirectory> {
    const { disk, dataDirectory } = options
    const topicsDirectory = `${dataDirectory}/topics`
    await disk.makeDirectory(topicsDirectory)
    await disk.syncDirectory(dataDirectory)
    // A process that was killed may have made directories, and not got to the sync of their names.
    await disk.syncDirectory(topicsDirectory)
    const mark = await takeCleanShutdown(disk, dataDirectory)
    const checkpoints = new PartitionCheckpoints({ disk, dataDirectory })
    await checkpoints.load(entry => partitionDirectoryName(entry.topic, entry.partition))
    const entries = (await disk.list(topicsDirectory)).filter(entry => entry.isDirectory)
    const names = entries.map(entry => entry.name)
    const directory = new LogDirectory(options, { checkpoints, names, cleanStopNodeEpoch: mark?.nodeEpoch })
    directory.#start()
    return directory
  }

  /** Node epoch of the clean-stop mark that was found (and removed) at the open, for the registration (rule B7). */
  get cleanStopNodeEpoch(): number | undefined {
    return this.#cleanStopNodeEpoch
  }

  /**
   * The mark counts only if it is of the life that was registered last: an older one came back with an old copy of
   * the directory. To be called once the metadata are known, before partitions are opened.
   */
  checkCleanStop(last: { nodeEpoch: number }): void {
    if (this.#cleanStopNodeEpoch !== last.nodeEpoch) this.#cleanStopNodeEpoch = undefined
  }

  /** The logs that are open now. */
  get logs(): Iterable<PartitionLog> {
    return this.#logs.values()
  }

  /** For logs that live beside the partitions in the same data directory, as the metadata log does. */
  get resources(): LogResources {
    return this.#resources
  }

  /** The checkpoints name it, and its directory is gone: records are lost (rule A1). */
  isMissing(topic: string, partition: PartitionId): boolean {
    const name = partitionDirectoryName(topic, partition)
    const isThere = this.#logs.has(name) || this.#unopened.has(name) || this.#closedClean.has(name)
    return this.#checkpoints.get(name) !== undefined && !isThere
  }

  /** How long the longest write or sync has been under way; above 2 s the node should give its leaderships away (B6). */
  get outstandingMs(): number {
    const nowMs = this.#resources.clock.monotonicMs()
    let longestMs = 0
    for (const log of this.#logs.values()) {
      if (log.outstandingSinceMs !== undefined)
        longestMs = Math.max(longestMs, nowMs - log.outstandingSinceMs)
    }
    return longestMs
  }

  /**
   * Opens the partition's log; one that never was begins without a directory, which is made for its first record. A
   * directory of that name but of another topic goes.
   */
  openPartition(options: PartitionOpenOptions): Promise<PartitionLog> {
    const name = partitionDirectoryName(options.topic, options.partition)
    return this.#queues.run(name, async () => {
      this.#ensureOpen()
      await this.#closeOther(name, options.topicId)
      await this.#takeOpenSlot()
      try {
        return await this.#open(name, options)
      } catch (thrown) {
        throw this.#openError(name, options, thrown)
      } finally {
        this.#opensInFlight--
        this.#waitingOpens.shift()?.()
      }
    })
  }

  closePartition(log: PartitionLog): Promise<void> {
    return this.#queues.run(log.name, async () => {
      if (this.#logs.get(log.name) === log) await this.#close(log)
    })
  }

  /** Those whose directories nobody has opened. One that does not say for certain whose it is, is not among them. */
  async unopenedPartitions(): Promise<UnopenedPartition[]> {
    const found: UnopenedPartition[] = []
    for (const name of [...this.#unopened]) {
      const place = parsePartitionDirectoryName(name)
      if (!place) continue
      try {
        found.push({ ...place, topicId: await this.#directories.topicIdOf(name) })
      } catch (thrown) {
        if (!(thrown instanceof NaruError || thrown instanceof DiskError)) throw thrown
        this.#options.onError(thrown)
      }
    }
    return found.filter(({ topic, partition }) =>
      this.#unopened.has(partitionDirectoryName(topic, partition)),
    )
  }

  /**
   * Closes the log if it is open, and takes its directory out of use; its bytes go later (rule A10). Without a topic id:
   * only one that a crash left before anything was stored in it.
   */
  deletePartition(options: UnopenedPartition): Promise<void> {
    const { topic, topicId, partition } = options
    const name = partitionDirectoryName(topic, partition)
    return this.#queues.run(name, async () => {
      this.#ensureOpen()
      if ((await this.#topicIdOf(name)) !== topicId && (await this.#isInUse(name))) return
      const log = this.#logs.get(name)
      if (log) await this.#close(log)
      await this.#discard(name, `${topicId ?? 'unfinished'}-${partition}`)
      await this.purgeDeleted()
    })
  }

  /** Removes deleted partitions that were kept long enough; all of them where space is short. */
  purgeDeleted(): Promise<void> {
    return this.#deleted.purge({ all: this.#options.isSpaceLow?.() ?? false })
  }

  /** Writes the checkpoints now, as the timer does. */
  async checkpoint(): Promise<void> {
    for (const [name, log] of this.#logs) await this.#note(name, log)
    await this.#checkpoints.writeAll()
  }

  /** Applies retention to all logs now, as the timer does. */
  async applyRetention(): Promise<void> {
    const wallMs = this.#resources.clock.wallMs()
    for (const log of [...this.#logs.values()]) {
      log.expireProducers({ expirationMs: this.#limits.producerIdExpirationMs })
      await this.#eachAlone(() => log.applyRetention(wallMs))
    }
    await this.purgeDeleted()
  }

  /** One pass of the scrubber over everything, as the timer starts it. */
  scrub(): Promise<void> {
    return this.#scrubber.pass()
  }

  /** Compacts each log that is dirty enough now, as the timer does. */
  clean(): Promise<void> {
    return this.#cleaner.pass()
  }

  /**
   * Leaves the clean-stop mark if all went well: with `nodeEpoch`, the registration of this life, or, without one, the
   * mark that was found, since a life that opened nothing took nothing away. Idempotent.
   */
  async close(options: { nodeEpoch?: number } = {}): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#scrubber.stop()
    for (const timer of this.#timers) timer.cancel()
    const cleaned = this.#cleaner.stop()
    // What is being opened closes itself when it sees that it came too late.
    await this.#queues.idle()
    await cleaned
    await Promise.all([...this.#logs.values()].map(log => this.closePartition(log)))
    await this.#resources.files.close()
    // Without room for the last files the next start recovers as after a crash, from the checkpoints before.
    if (this.#offline === undefined) await this.#eachAlone(() => this.#leaveMarks(options))
  }

  async #leaveMarks(options: { nodeEpoch?: number }): Promise<void> {
    await this.#checkpoints.writeAll()
    const othersWhole = this.#cleanStopNodeEpoch !== undefined || this.#unopened.size === 0
    const allWhole = othersWhole && [...this.#closedClean.values()].every(clean => clean)
    const asFound = this.#closedClean.size === 0 ? this.#cleanStopNodeEpoch : undefined
    const nodeEpoch = options.nodeEpoch ?? asFound
    if (nodeEpoch === undefined || !allWhole) return
    const { disk, dataDirectory } = this.#options
    await writeCleanShutdown(disk, dataDirectory, { nodeEpoch })
  }

  async #open(name: string, options: PartitionOpenOptions): Promise<PartitionLog> {
    const found = await this.#directories.claim(name, options, options.afterLoss ?? false)
    if (!found) this.#forget(name)
    const known = this.#checkpoints.get(name)
    const cleanStop = this.#closedClean.get(name) ?? this.#cleanStopNodeEpoch !== undefined
    let log: PartitionLog | undefined
    log = await PartitionLog.open({
      resources: this.#resources,
      directory: this.#directories.pathOf(name),
      name,
      config: options.config,
      urgent: this.#options.isUrgent?.(options.topic) ?? false,
      cleanStop,
      appendPendingBytesMax: this.#limits.appendPendingBytesMax,
      ...(known && {
        recoveryPoint: known.recoveryPoint,
        highWatermark: known.highWatermark,
        logStartOffset: known.logStartOffset,
      }),
      found,
      make: found ? undefined : () => this.#make(name, options),
      checkpoint: () => this.#lower(name, log),
      onProgress: options.onProgress,
      onEvent: event => {
        options.onEvent(event)
        if (event.kind === 'offline') this.#goOffline(event.error)
      },
    })
    this.#forget(name)
    this.#logs.set(name, log)
    this.#topicIds.set(name, options.topicId)
    if (found) this.#scrubber.onFound()
    if (this.#offline !== undefined) log.takeOffline(this.#offline)
    if (this.#closed) {
      await this.#close(log)
      this.#ensureOpen()
    }
    if (found && !known) await this.#nameInCheckpoints(log, options)
    return log
  }

  async #make(name: string, place: PartitionPlace): Promise<void> {
    // A late reader of a file that had this name once (a deleted topic's) may have left it open.
    this.#resources.files.forget(`${this.#directories.pathOf(name)}/${offsetFileName(0, LOG_SUFFIX)}`)
    await this.#directories.make(name, place)
  }

  /** A crash came between its making and this: durably in use from here on (rule B3). */
  async #nameInCheckpoints(log: PartitionLog, { topic, partition }: PartitionPlace): Promise<void> {
    const { name, logStartOffset } = log
    const offsets = { topic, partition, recoveryPoint: logStartOffset, highWatermark: 0, logStartOffset }
    try {
      await this.#checkpoints.add(name, offsets)
    } catch (thrown) {
      this.#checkpoints.delete(name)
      await this.#close(log)
      throw thrown
    }
  }

  /** Want of room passes, and the opening can be tried again; a failed write or sync ends this life, as everywhere. */
  #openError(name: string, options: PartitionOpenOptions, thrown: unknown): unknown {
    if (!(thrown instanceof DiskError)) return thrown
    const error = shortage(name, thrown) ?? offlineLog(name, thrown)
    if (thrown.code === 'EIO') {
      options.onEvent({ kind: 'offline', log: name, error })
      this.#goOffline(error)
    }
    return error
  }

  /** The log of a topic deleted while it was being opened may still be open where another one's comes now. */
  async #closeOther(name: string, topicId: Uuid): Promise<void> {
    const log = this.#logs.get(name)
    if (!log) return
    if (this.#topicIds.get(name) === topicId)
      throw new NaruError('INTERNAL', `the log ${name} is open already`, { outcome: 'none' })
    await this.#close(log)
  }

  /** Of the log that is open, else of the directory. */
  async #topicIdOf(name: string): Promise<Uuid | undefined> {
    return this.#topicIds.get(name) ?? this.#directories.topicIdOf(name)
  }

  async #isInUse(name: string): Promise<boolean> {
    return this.#logs.has(name) || this.#directories.isThere(name)
  }

  async #discard(name: string, id: string): Promise<void> {
    this.#forget(name)
    await this.#directories.discard(name, id)
  }

  /** What an earlier life, or an earlier opening, left of it is known no more. */
  #forget(name: string): void {
    this.#unopened.delete(name)
    this.#closedClean.delete(name)
  }

  async #close(log: PartitionLog): Promise<void> {
    const clean = await log.close()
    this.#logs.delete(log.name)
    this.#topicIds.delete(log.name)
    this.#closedClean.set(log.name, clean)
    // Else the last checkpoint stays: it claims less.
    if (clean) await this.#note(log.name, log)
  }

  /** For a log that is about to remove bytes: the files claim at most what stays. */
  async #lower(name: string, log: PartitionLog | undefined): Promise<void> {
    if (log) await this.#checkpoints.lower(name, log)
  }

  /** The recovery point rises only after the epoch checkpoint covers it: a recovery trusts the one up to the other. */
  async #note(name: string, log: PartitionLog): Promise<void> {
    if (log.failure) return
    const { recoveryPoint } = log
    await log.writeEpochs()
    const known = this.#checkpoints.get(name)
    if (!known || log.failure) return
    known.recoveryPoint = Math.min(recoveryPoint, log.recoveryPoint)
    known.highWatermark = log.highWatermark
    known.logStartOffset = log.logStartOffset
  }

  #goOffline(error: unknown): void {
    if (this.#offline !== undefined) return
    this.#offline = error
    for (const log of this.#logs.values()) log.takeOffline(error)
  }

  #start(): void {
    this.#every(this.#limits.checkpointIntervalMs, () => this.checkpoint())
    this.#every(this.#limits.retentionIntervalMs, () => this.applyRetention())
    this.#every(this.#limits.cleanerIntervalMs, () => this.clean())
    this.#scrubber.start()
  }

  #every(intervalMs: number, work: () => Promise<void>): void {
    const timer = this.#resources.clock.setTimer(intervalMs, () => {
      this.#timers.delete(timer)
      if (this.#closed || this.#offline !== undefined) return
      void this.#eachAlone(work).then(() => {
        if (!this.#closed) this.#every(intervalMs, work)
      })
    })
    this.#timers.add(timer)
  }

  /** What fails for one log, or this time, must not stop the others, or the next time. */
  async #eachAlone(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (thrown) {
      if (!(thrown instanceof NaruError || thrown instanceof DiskError)) throw thrown
      // A log that was closed meanwhile, as that of a deleted topic, has no use for the work.
      if (thrown instanceof NaruError && thrown.reason === 'CLOSED') return
      this.#options.onError(thrown)
    }
  }

  async #takeOpenSlot(): Promise<void> {
    while (this.#opensInFlight >= this.#limits.opensInFlightMax) {
      await new Promise<void>(resolve => this.#waitingOpens.push(resolve))
    }
    this.#opensInFlight++
  }

  #ensureOpen(): void {
    if (this.#closed)
      throw new NaruError('CLOSED', `the data directory ${this.#options.dataDirectory} is closed`)
  }
}
