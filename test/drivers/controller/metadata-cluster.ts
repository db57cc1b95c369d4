import type { NaruError } from '../../../src/base/errors.ts'
import { ControllerDriver } from '../../../src/drivers/controller/controller-driver.ts'
import { formatRaft, openRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import { type MemberId, memberId, nodeIdOf } from '../../../src/raft/membership.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimNetwork } from '../../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { logResources } from '../../log/log-harness.ts'

const DIRECTORY = 'raft'
const PORT = 7452

/** One member: its machine, and its driver while it runs. */
export interface MetadataMember {
  readonly nodeId: number
  readonly id: MemberId
  readonly machine: SimMachine
  driver: ControllerDriver | undefined
  failure: NaruError | undefined
}

/** The metadata quorum alone: controller drivers on simulated machines, with a network between them. */
export class MetadataCluster {
  readonly scheduler: EventScheduler
  readonly network: SimNetwork
  readonly members: MetadataMember[]
  readonly #prng: SeededPrng
  readonly #snapshotAfterEntries: number

  private constructor(options: { seed: number; members: number; snapshotAfterEntries?: number }) {
    this.#prng = new SeededPrng(options.seed)
    this.#snapshotAfterEntries = options.snapshotAfterEntries ?? 1000
    this.scheduler = new EventScheduler(this.#prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.#prng.fork('network') })
    this.members = Array.from({ length: options.members }, (_, i) => this.#makeMember(i + 1))
  }

  static async start(options: {
    seed: number
    members: number
    snapshotAfterEntries?: number
  }): Promise<MetadataCluster> {
    const cluster = new MetadataCluster(options)
    const voters = cluster.members.map(member => member.id).sort()
    for (const member of cluster.members) {
      await member.machine.run(disk =>
        formatRaft(
          { resources: logResources(disk, member.machine.clock), directory: DIRECTORY },
          { self: member.id, membership: { voters, learners: [] } },
        ),
      )
    }
    for (const member of cluster.members) await cluster.boot(member)
    return cluster
  }

  async boot(member: MetadataMember): Promise<ControllerDriver> {
    const { machine, nodeId } = member
    const { clock, incarnation, disk } = machine
    this.network.powerOn(machine.name)
    const prng = this.#prng.fork(`${machine.name} ${this.scheduler.steps}`)
    const resources = logResources(disk, clock)
    const opened = await this.scheduler.finish(
      openRaft({ resources, directory: DIRECTORY, nodeId, prng, onEvent() {} }),
    )
    const driver = new ControllerDriver({
      raft: {
        clusterId: 'cluster',
        opened,
        disk,
        clock,
        prng,
        transport: new SimTransport(this.network, incarnation, machine.name),
        addressOf: id => `n${nodeIdOf(id)}:${PORT}`,
        limits: { snapshotAfterEntries: this.#snapshotAfterEntries, keptEntries: 5 },
      },
      onFailed: error => {
        member.failure = error
      },
      onEvent() {},
    })
    member.driver = driver
    const { handlers } = driver
    serveSimulated({ network: this.network, incarnation, address: `${machine.name}:${PORT}`, handlers })
    return driver
  }

  /** Unsynced bytes are lost, and nobody is told that it is gone. */
  powerCut(member: MetadataMember): void {
    this.network.powerOff(member.machine.name)
    member.machine.powerCut()
    member.driver = undefined
  }

  /** Cuts one member off from all others, both ways. */
  isolate(member: MetadataMember): void {
    for (const other of this.members) {
      if (other === member) continue
      this.network.cut(member.machine.name, other.machine.name)
      this.network.cut(other.machine.name, member.machine.name)
    }
  }

  get leader(): MetadataMember | undefined {
    const leaders = this.members.filter(member => member.driver?.isLeading)
    return leaders.sort((a, b) => (b.driver?.status.term ?? 0) - (a.driver?.status.term ?? 0))[0]
  }

  /** The member that leads, once there is one, and its driver. */
  async awaitLeader(): Promise<MetadataMember & { driver: ControllerDriver }> {
    await this.until(() => this.leader !== undefined)
    return this.leader as MetadataMember & { driver: ControllerDriver }
  }

  until(condition: () => boolean): Promise<void> {
    return this.scheduler.runUntil(condition, { timeMsMax: 20_000 })
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.scheduler.finish(work)
  }

  #makeMember(nodeId: number): MetadataMember {
    const { scheduler } = this
    const name = `n${nodeId}`
    const machine = new SimMachine(0, { name, scheduler, prng: this.#prng.fork(name) })
    return { nodeId, id: memberId(nodeId, `disk${nodeId}`), machine, driver: undefined, failure: undefined }
  }
}
