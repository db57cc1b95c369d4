import { NaruError } from '../../../src/base/errors.ts'
import { formatRaft, openRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import { RaftDriver, type RaftDriverLimits } from '../../../src/drivers/raft/raft-driver.ts'
import type { RaftOwner } from '../../../src/drivers/raft/raft-owner.ts'
import type { RaftStorage } from '../../../src/drivers/raft/raft-storage.ts'
import { IndexCache } from '../../../src/log/index-cache.ts'
import { TailBudget } from '../../../src/log/log-tail.ts'
import { OpenFiles } from '../../../src/log/open-files.ts'
import type { LogResources } from '../../../src/log/partition-log.ts'
import { SyncScheduler } from '../../../src/log/sync-scheduler.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { Disk } from '../../../src/ports/disk.ts'
import type { MemberId, Membership } from '../../../src/raft/membership.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimNetwork } from '../../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { ClusterOracle } from './cluster-oracle.ts'
import { HashedLog } from './hashed-log.ts'
import { listeningTransport } from './listening-transport.ts'

const DIRECTORY = 'data/raft'
const CLUSTER_ID = 'cluster'
const PORT = 7452

export const FAST_TIMING = {
  heartbeatMs: 20,
  electionTimeoutMs: { min: 100, max: 200 },
  lostLeaderTimeoutMs: { min: 30, max: 60 },
  snapshotTimeoutMs: 500,
}

export interface RaftClusterOptions {
  readonly seed: number
  readonly voters: number
  readonly spoil?: Spoilers
  readonly snapshotAfterEntries?: number
  readonly snapshotAfter?: RaftDriverLimits['snapshotAfter']
  readonly keptEntries?: number
}

/** Planted bugs. */
export interface Spoilers {
  readonly disk?: (disk: Disk) => Disk
  readonly storage?: (storage: RaftStorage) => void
}

export function resourcesOf(disk: Disk, clock: Clock): LogResources {
  return {
    disk,
    clock,
    scheduler: new SyncScheduler({ clock }),
    files: new OpenFiles({ disk, openFilesMax: 64 }),
    indexCache: new IndexCache({ indexBytesMax: 1024 * 1024 }),
    tailBudget: new TailBudget({ tailBytesMax: 64 * 1024, tailsTotalBytesMax: 64 * 1024 }),
  }
}

/** One member: its machine, and what of it runs now. */
export class ClusterMember {
  readonly id: MemberId
  readonly machine: SimMachine
  readonly host: string
  driver: RaftDriver | undefined
  log: HashedLog | undefined
  isBooting = false

  constructor(id: MemberId, machine: SimMachine) {
    this.id = id
    this.machine = machine
    this.host = machine.name
  }

  get isDown(): boolean {
    return this.driver === undefined && !this.isBooting
  }
}

/** Raft drivers on simulated machines under one seed, judged after every event. */
export class RaftCluster {
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
  readonly network: SimNetwork
  readonly members: ClusterMember[]
  readonly oracle = new ClusterOracle()
  readonly #options: RaftClusterOptions
  #lastCommand = 0

  private constructor(options: RaftClusterOptions) {
    this.#options = options
    this.prng = new SeededPrng(options.seed)
    this.scheduler = new EventScheduler(this.prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.prng.fork('network') })
    this.members = Array.from({ length: options.voters }, (_, i) => this.#makeMember(i + 1))
    this.scheduler.observe(() => this.oracle.check(this.members))
  }

  static async start(options: RaftClusterOptions): Promise<RaftCluster> {
    const cluster = new RaftCluster(options)
    const voters = cluster.members.map(member => member.id).sort()
    for (const member of cluster.members) {
      await cluster.format(member, { voters, learners: [] })
      cluster.boot(member)
    }
    return cluster
  }

  get leader(): ClusterMember | undefined {
    const leaders = this.members.filter(member => member.driver?.status.isReady)
    return leaders.sort((a, b) => (b.driver?.status.term ?? 0) - (a.driver?.status.term ?? 0))[0]
  }

  /** A machine with an empty member on it, not part of the quorum. */
  async addJoiner(): Promise<ClusterMember> {
    const member = this.#makeMember(this.members.length + 1)
    this.members.push(member)
    await this.format(member, { voters: [], learners: [] })
    this.boot(member)
    return member
  }

  async format(member: ClusterMember, membership: Membership): Promise<void> {
    const { disk, clock } = member.machine
    const resources = resourcesOf(disk, clock)
    await this.scheduler.finish(
      formatRaft({ resources, directory: DIRECTORY }, { self: member.id, membership }),
    )
  }

  boot(member: ClusterMember): void {
    this.network.powerOn(member.host)
    member.isBooting = true
    const { incarnation } = member.machine
    void this.#boot(member).catch(thrown => {
      if (incarnation.isAlive) this.oracle.fail(thrown)
    })
  }

  kill(member: ClusterMember): void {
    member.machine.kill()
    this.#forget(member)
  }

  /** Unsynced bytes are lost, and nobody is told that it is gone. */
  powerCut(member: ClusterMember): void {
    this.network.powerOff(member.host)
    member.machine.powerCut()
    this.#forget(member)
  }

  /** The same in the middle of one of its next changes of the disk. */
  powerCutAtChange(member: ClusterMember, changes: number): void {
    const { image } = member.machine
    member.machine.crashAtChange(image.changes + changes, () => {
      this.network.powerOff(member.host)
      this.#forget(member)
    })
  }

  /** Cuts both directions between the two groups. */
  partition(left: readonly ClusterMember[], right: readonly ClusterMember[]): void {
    for (const a of left) {
      for (const b of right) {
        this.network.cut(a.host, b.host)
        this.network.cut(b.host, a.host)
      }
    }
  }

  /** One command to whoever leads now, if anybody does. */
  propose(bytes = 8): Promise<number> | undefined {
    const driver = this.leader?.driver
    if (!driver) return undefined
    this.#lastCommand++
    const command = String(this.#lastCommand).padEnd(bytes, '.')
    const outcome = driver.propose([Buffer.from(command)]).then(({ index }) => {
      this.oracle.acknowledged(command)
      return index
    })
    outcome.catch(thrown => {
      if (!(thrown instanceof NaruError)) this.oracle.fail(thrown)
    })
    return outcome
  }

  read(member: ClusterMember): void {
    const atLeast = this.oracle.committedIndex
    member.driver?.readIndex().then(
      index => this.oracle.read({ index, atLeast, applied: member.log?.index ?? 0 }),
      thrown => {
        if (!(thrown instanceof NaruError)) this.oracle.fail(thrown)
      },
    )
  }

  /** Everything heals; all members must come to the same state, which holds all that was acknowledged. */
  async converge(timeMsMax = 20_000): Promise<void> {
    this.network.heal()
    for (const { machine } of this.members) machine.crashAtChange(Number.POSITIVE_INFINITY)
    for (const member of this.members) if (member.isDown) this.boot(member)
    const { scheduler } = this
    await scheduler.runUntil(() => this.leader !== undefined, { timeMsMax })
    let last: number | undefined
    const again = () => {
      if (last !== undefined) return
      this.propose()?.then(
        index => {
          last = index
        },
        () => scheduler.schedule(100, again),
      ) ?? scheduler.schedule(100, again)
    }
    again()
    const isDone = () => {
      const end = this.leader?.driver?.lastIndex ?? Number.POSITIVE_INFINITY
      return last !== undefined && end >= last && this.members.every(member => member.log?.index === end)
    }
    await scheduler.runUntil(isDone, { timeMsMax })
    for (const member of this.members) this.oracle.checkFinal(member.log as HashedLog)
  }

  async close(): Promise<void> {
    await this.scheduler.finish(Promise.all(this.members.map(member => member.driver?.close())))
  }

  #makeMember(nodeId: number): ClusterMember {
    const { scheduler, prng } = this
    const machine = new SimMachine(0, { name: `n${nodeId}`, scheduler, prng: prng.fork(`n${nodeId}`) })
    return new ClusterMember(`${nodeId}@disk${nodeId}`, machine)
  }

  #forget(member: ClusterMember): void {
    member.driver = undefined
    member.log = undefined
    member.isBooting = false
    this.oracle.forget(member.id)
  }

  async #boot(member: ClusterMember): Promise<void> {
    const { machine, host } = member
    const { clock, incarnation } = machine
    const disk = this.#options.spoil?.disk?.(machine.disk) ?? machine.disk
    const prng = this.prng.fork(`${host} ${this.scheduler.steps}`)
    const nodeId = Number(host.slice(1))
    const resources = resourcesOf(disk, clock)
    const opened = await openRaft({
      resources,
      directory: DIRECTORY,
      nodeId,
      prng,
      segmentBytes: 2048,
      onEvent() {},
    })
    if (!incarnation.isAlive) return
    this.oracle.onBoot(member.id, opened)
    this.#options.spoil?.storage?.(opened.storage)
    const log = new HashedLog()
    const driver = new RaftDriver({
      clusterId: CLUSTER_ID,
      opened,
      disk,
      clock,
      prng,
      transport: listeningTransport(new SimTransport(this.network, incarnation, host), (to, message) =>
        this.oracle.onSend(member.id, to, message),
      ),
      addressOf: member => `n${member.slice(0, member.indexOf('@'))}:${PORT}`,
      owner: this.#ownerOf(member, log),
      timing: FAST_TIMING,
      limits: {
        snapshotAfterEntries: this.#options.snapshotAfterEntries ?? 40,
        ...(this.#options.snapshotAfter && { snapshotAfter: this.#options.snapshotAfter }),
        keptEntries: this.#options.keptEntries ?? 10,
        checkpointMs: 200,
      },
      streamLimits: { dialTimeoutMs: 200, redialMs: { min: 10, max: 100 }, snapshotStallMs: 400 },
    })
    member.log = log
    member.driver = driver
    member.isBooting = false
    const address = `${host}:${PORT}`
    serveSimulated({ network: this.network, incarnation, address, handlers: driver.handlers })
  }

  #ownerOf({ id }: ClusterMember, log: HashedLog): RaftOwner {
    return {
      onCommitted: entries => {
        for (const entry of entries) {
          log.apply(entry)
          this.oracle.onApplied(id, entry, log.hash)
        }
      },
      onSnapshot: ({ records, through }) => {
        log.restore(records, through)
        this.oracle.onSnapshot(id, through, log.hash)
      },
      takeSnapshot: () => log.records(),
      onLeading: () => {},
      onResigned: () => {},
      onFailed: error => this.oracle.fail(error),
      onEvent: event => this.oracle.onEvent(id, event),
    }
  }
}
