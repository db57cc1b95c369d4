import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { DiskReserve } from '../log/disk-reserve.ts'
import { LogDirectory } from '../log/log-directory.ts'
import type { LogDirectoryLimits } from '../log/log-directory-options.ts'
import { readRegistration, writeRegistration } from '../log/registration-file.ts'
import { GROUPS_TOPIC } from '../metadata/internal-topics.ts'
import type { Clock } from '../ports/clock.ts'
import { type Disk, DiskError, makeDirectoryDurably, writeFileAtomically } from '../ports/disk.ts'
import type { KeyValueStore } from '../ports/key-value-store.ts'
import type { OpenStore } from './broker-options.ts'
import { checkDataDirectory, type DataPaths, dataPaths } from './data-directory.ts'
import type { Settings } from './settings.ts'

export interface NodeStorageOptions {
  readonly settings: Settings
  readonly logger: Logger
  readonly disk: Disk
  readonly clock: Clock
  readonly openStore: OpenStore
  /** Other than what the settings say. */
  readonly logLimits?: Partial<LogDirectoryLimits>
}

interface NodeStorageParts {
  readonly paths: DataPaths
  readonly registeredEpoch: number
  readonly store: KeyValueStore
  readonly directory: LogDirectory
  readonly reserve: DiskReserve
}

/**
 * The data directory of a node, opened: no other process can use it until `close`. It is this node's; what lies in
 * `raft/` and `topics/` is opened by those it belongs to.
 */
export class NodeStorage {
  readonly nodeId: NodeId
  readonly paths: DataPaths
  readonly directory: LogDirectory
  readonly reserve: DiskReserve
  readonly #disk: Disk
  readonly #dataDirectory: string
  #registeredEpoch: number
  /** The view of groups. Its lock keeps other processes out of the directory. */
  readonly store: KeyValueStore

  private constructor({ settings, disk }: NodeStorageOptions, parts: NodeStorageParts) {
    this.nodeId = settings['node.id']
    this.#disk = disk
    this.#dataDirectory = settings['data.dir']
    this.#registeredEpoch = parts.registeredEpoch
    this.paths = parts.paths
    this.directory = parts.directory
    this.reserve = parts.reserve
    this.store = parts.store
  }

  /** Opens or makes the directory. Refuses one that is used, another node's or damaged. */
  static async open(options: NodeStorageOptions): Promise<NodeStorage> {
    const { settings, disk } = options
    const dataDirectory = settings['data.dir']
    const paths = dataPaths(dataDirectory)
    await makeDirectoryDurably(disk, dataDirectory)
    await checkDataDirectory(disk, dataDirectory, settings['node.id'])
    const isOutdated = (await disk.stat(paths.stateOutdated)) !== undefined
    const store = await openStore(options, paths.state, isOutdated)
    try {
      if (isOutdated) await removeOutdatedMark(disk, dataDirectory)
      const registeredEpoch = await readRegistration(disk, dataDirectory)
      const logs = await openLogs(options)
      return new NodeStorage(options, { ...logs, paths, store, registeredEpoch })
    } catch (thrown) {
      await store.close()
      throw thrown
    }
  }

  /** What the store holds is wrong from now on, and it cannot be changed: the next start makes it anew. Durable when it resolves. */
  async outdateStore(): Promise<void> {
    await writeFileAtomically(this.#disk, this.paths.stateOutdated, Buffer.from('1\n'))
  }

  /** Under which the directory took part last, or is about to; 0: never. */
  get registeredEpoch(): number {
    return this.#registeredEpoch
  }

  /** Durable when it resolves, unless the disk is full: then an old copy of this directory passes for it, for once. */
  async noteRegistered(nodeEpoch: number): Promise<void> {
    try {
      await writeRegistration(this.#disk, this.#dataDirectory, { nodeEpoch })
      this.#registeredEpoch = nodeEpoch
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      if (thrown.code !== 'ENOSPC') throw failedStart(thrown)
    }
  }

  /** With the epoch under which the node was registered: leaves the mark of a clean stop if all went well. */
  async close(options: { nodeEpoch?: number }): Promise<void> {
    this.reserve.stop()
    try {
      await this.directory.close(options)
    } finally {
      await this.store.close()
    }
  }
}

/** All that is in it follows from the logs (D2): one that does not open is made anew. */
async function openStore(
  options: NodeStorageOptions,
  directory: string,
  anew: boolean,
): Promise<KeyValueStore> {
  try {
    return await options.openStore(directory, { anew })
  } catch (thrown) {
    if (!(thrown instanceof NaruError) || thrown.reason !== 'DATA_DIRECTORY_DAMAGED') throw thrown
    const { reason, message } = thrown
    options.logger.error({ reason, directory }, `${message}: it is made anew from the logs`)
    return options.openStore(directory, { anew: true })
  }
}

/** Once the files that it is about cannot come back with a power cut. */
async function removeOutdatedMark(disk: Disk, dataDirectory: string): Promise<void> {
  const { state, stateOutdated } = dataPaths(dataDirectory)
  if (await disk.stat(state)) await disk.syncDirectory(state)
  await disk.syncDirectory(dataDirectory)
  await disk.remove(stateOutdated)
  await disk.syncDirectory(dataDirectory)
}

async function openLogs(
  options: NodeStorageOptions,
): Promise<{ directory: LogDirectory; reserve: DiskReserve }> {
  const { settings, disk, clock, logger } = options
  const dataDirectory = settings['data.dir']
  const onError = (error: unknown) =>
    logger.error({ err: error }, 'a background task of the logs failed; it is tried again')
  let reserve: DiskReserve | undefined
  const directory = await LogDirectory.open({
    disk,
    clock,
    dataDirectory,
    limits: { ...logLimits(settings), ...options.logLimits },
    isUrgent: topic => topic === GROUPS_TOPIC,
    isSpaceLow: () => reserve?.isLow ?? false,
    onError,
  })
  reserve = new DiskReserve({
    disk,
    clock,
    dataDirectory,
    freeBytesMin: settings['disk.free.min'],
    onChange: isLow => {
      reportReserve(logger, settings, isLow)
      if (isLow) directory.purgeDeleted().catch(onError)
    },
    onError: error => logger.error({ err: error }, 'the free space of the disk cannot be told'),
  })
  return { directory, reserve }
}

function logLimits(settings: Settings): Partial<LogDirectoryLimits> {
  return {
    syncsInFlightMax: settings['syncs.in.flight.max'],
    openFilesMax: settings['open.files.max'],
    tailsTotalBytesMax: settings['tail.bytes.max'],
    appendPendingBytesMax: settings['append.pending.bytes.max'],
    retentionIntervalMs: settings['log.retention.check.interval.ms'],
    producerIdExpirationMs: settings['producer.id.expiration.ms'],
    scrubBytesPerSecond: settings['scrub.bytes.per.second'],
    cleanerIntervalMs: settings['log.cleaner.backoff.ms'],
    cleanerBytesPerSecond: settings['log.cleaner.io.max.bytes.per.second'],
    cleanerKeyMapBytesMax: settings['log.cleaner.dedupe.buffer.size'],
  }
}

function reportReserve(logger: Logger, settings: Settings, isLow: boolean): void {
  const facts = { dataDirectory: settings['data.dir'], freeBytesMin: settings['disk.free.min'] }
  if (isLow)
    logger.warn(facts, 'free disk space is below disk.free.min: records are refused until there is room')
  else logger.info(facts, 'there is room on the disk again: records are accepted')
}

/** Of files that no part of the node answers for yet. */
export function failedStart(cause: DiskError): NaruError {
  const what = `the node cannot start: a disk operation failed (${cause.message})`
  if (cause.code === 'ENOSPC')
    return new NaruError('DISK_FULL', `${what}: free some space or add some, then start it again`, { cause })
  return new NaruError('STORAGE_OFFLINE', `${what}: check the disk, then start it again`, { cause })
}
