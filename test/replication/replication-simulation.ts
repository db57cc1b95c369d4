import type { IsrProposal, ProposalAnswer } from '../../src/replication/in-sync-replicas.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { check, ReplicationOracle } from './replication-oracle.ts'
import { SimulatedController } from './simulated-controller.ts'
import {
  CORES,
  type Cores,
  type DriverBugs,
  type Frame,
  SimSession,
  SimulatedReplica,
} from './simulated-replica.ts'

export interface ReplicationSimulationOptions {
  readonly seed: number
  readonly steps?: number
  readonly cores?: Cores
  readonly bugs?: DriverBugs
  /** A planted bug of the controller: it does not compare epochs. */
  readonly acceptsStale?: boolean
  readonly trace?: (line: string) => void
}

/** What a run did, to show that things really happen. */
export interface ReplicationReport {
  committed: number
  acknowledged: number
  leaders: number
  crashes: number
  truncations: number
  resets: number
  entered: number
  movedAndBack: number
}

const STEP_MS = 10
const TICK_STEPS = 10

interface Packet {
  readonly dueMs: number
  readonly deliver: () => void
}

/**
 * Three replicas of one partition and a controller under one seed. Sessions keep order, break, and leave late frames
 * behind; metadata arrive late and in jumps; disks lose what was not synced; processes are killed, power fails, a disk is
 * replaced; nodes are fenced though they live. `ReplicationOracle` judges after every event. At the end all heals and
 * must converge. Every seed draws its own probabilities.
 */
export class ReplicationSimulation {
  readonly report: ReplicationReport = {
    committed: 0,
    acknowledged: 0,
    leaders: 0,
    crashes: 0,
    truncations: 0,
    resets: 0,
    entered: 0,
    movedAndBack: 0,
  }
  readonly oracle = new ReplicationOracle()
  readonly replicas: SimulatedReplica[]
  readonly controller: SimulatedController
  readonly #prng: SeededPrng
  /** Draws for what came later than the seeds that are kept, whose histories stay as they were. */
  readonly #movesPrng: SeededPrng
  readonly #trace: (line: string) => void
  readonly #chance: ReturnType<typeof drawChances>
  readonly #readdChance: number
  #nowMs = 1000
  #packets: Packet[] = []
  readonly #lastDue = new Map<SimSession, number>()
  /** Nodes that no metadata reach for a while. */
  readonly #deafUntilMs = new Map<number, number>()
  readonly #restartMs = new Map<number, number>()
  readonly #cut = new Set<string>()
  readonly #streams = new Map<number, number>()
  /** The proposal that each leader's driver still sends. */
  readonly #proposals = new Map<number, IsrProposal>()
  #lastId = 0
  #isHealed = false
  #wiped = false
  #damaged = false

  constructor(options: ReplicationSimulationOptions) {
    this.#prng = new SeededPrng(options.seed)
    this.#trace = options.trace ?? (() => {})
    this.#chance = drawChances(this.#prng)
    this.#movesPrng = new SeededPrng(options.seed + 0x6d6f7665)
    this.#readdChance = this.#movesPrng.chance(0.5) ? 0 : this.#movesPrng.fraction() * 0.02
    const minInsyncReplicas = this.#prng.pick([1, 2, 2, 2, 3])
    const ids = [1, 2, 3]
    const { acceptsStale = false, cores = CORES, bugs = {} } = options
    this.controller = new SimulatedController({ replicas: ids, minInsyncReplicas, acceptsStale })
    this.controller.onEnter = nodeId => {
      this.report.entered++
      this.oracle.onEnter(this.#replica(nodeId))
    }
    this.replicas = ids.map(
      id =>
        new SimulatedReplica({
          id,
          minInsyncReplicas,
          cores,
          bugs,
          send: (session, to, frame) => this.#send(session, to, frame),
          propose: (replica, proposal) => this.#propose(replica, proposal),
          onHighWatermark: replica => this.oracle.onHighWatermark(replica, this.replicas),
          onAcknowledged: (offset, value) => {
            this.report.acknowledged++
            this.oracle.onAcknowledged(offset, value)
          },
          quarantined: (replica, cause) => check(false, `C6: ${replica.id} is in quarantine: ${cause}`),
        }),
    )
    for (const replica of this.replicas) this.#boot(replica, 'a')
  }

  /** Throws at the first breach, and when the healed partition does not converge. */
  run(steps = 500): ReplicationReport {
    for (let step = 0; step < steps; step++) {
      this.#harm()
      this.#step(step)
    }
    this.#heal()
    for (let step = 0; !this.#isConverged() && !this.#isLost(); step++) {
      check(step < 2000, `it does not converge: ${this.describe()}`)
      this.#step(step)
    }
    this.report.committed = this.oracle.committed.length
    this.report.leaders = this.controller.state.leaderEpoch
    return this.report
  }

  describe(): string {
    const { state } = this.controller
    const of = (replica: SimulatedReplica) =>
      `${replica.id}${replica.state ? ` leads ${replica.state.leaderEpoch} isr ${replica.state.isr}/${replica.state.maximalIsr}` : ''}` +
      `${replica.follower ? ` ${replica.follower.phase} ${replica.follower.leaderEpoch}` : ''}${replica.isUp ? '' : ' down'}` +
      ` ${replica.log.epochs}:${replica.log.highWatermark}:${replica.durable.length}`
    return `isr ${state.isr} elr ${state.elr} leader ${state.leader} ${state.leaderEpoch}.${state.partitionEpoch} | ${this.replicas.map(of).join(' | ')}`
  }

  #step(step: number): void {
    this.#nowMs += STEP_MS
    for (const replica of this.replicas) this.#live(replica, step)
    const due = this.#packets.filter(packet => packet.dueMs <= this.#nowMs).sort((a, b) => a.dueMs - b.dueMs)
    this.#packets = this.#packets.filter(packet => packet.dueMs > this.#nowMs)
    for (const packet of due) {
      packet.deliver()
      this.#check()
    }
  }

  #live(replica: SimulatedReplica, step: number): void {
    const prng = this.#prng
    if (!replica.isUp) {
      if ((this.#restartMs.get(replica.id) ?? 0) <= this.#nowMs) this.#boot(replica, replica.directoryId)
      return
    }
    if (replica.session?.isAlive) replica.session.heardMs = this.#nowMs
    this.#applyMetadata(replica)
    this.#connect(replica)
    if (replica.state && prng.chance(this.#chance.produce)) replica.produce(`v${++this.#lastId}`, this.#nowMs)
    if (prng.chance(this.#chance.sync)) replica.startSync()
    if (replica.sync && prng.chance(this.#chance.sync)) replica.endSync(this.#nowMs)
    if (replica.cut && prng.chance(this.#chance.sync)) replica.endCut(this.#nowMs)
    if (prng.chance(this.#chance.replicate)) replica.replicate(this.#nowMs)
    if (prng.chance(0.05)) replica.checkpoint()
    if (step % TICK_STEPS === replica.id) {
      replica.tick(this.#nowMs)
      this.#resend(replica)
      const { nodeEpoch } = replica
      if (replica.follower?.phase === 'damaged')
        this.#later(() => {
          if (replica.follower?.phase === 'damaged' && replica.nodeEpoch === nodeEpoch)
            this.controller.reportDamage(replica.id)
        })
    }
    this.#check()
  }

  #applyMetadata(replica: SimulatedReplica): void {
    const { log } = this.controller
    if (replica.applied >= log.length - 1 || (this.#deafUntilMs.get(replica.id) ?? 0) > this.#nowMs) return
    if (!this.#prng.chance(this.#chance.metadata)) return
    // Several changes may come as one.
    const to = this.#prng.chance(0.2) ? log.length - 1 : replica.applied + 1
    const step = log[to]
    if (step) replica.apply(step, to, this.#nowMs)
    const node = this.controller.node(replica.id)
    const hasRegistered = step?.nodes.get(replica.id)?.nodeEpoch === replica.nodeEpoch
    if (hasRegistered && node?.isFenced && (this.#isHealed || this.#prng.chance(0.3)))
      this.controller.unfence(replica.id)
  }

  #connect(replica: SimulatedReplica): void {
    const leaderId = replica.follower?.leader
    if (leaderId === undefined || replica.session || !this.#prng.chance(0.3)) return
    const leader = this.#replica(leaderId)
    if (!leader.isUp || this.#isCut(replica.id, leaderId)) return
    const session = new SimSession(replica, leaderId, this.#nowMs)
    this.#trace(`${this.#nowMs} ${replica.id} connects to ${leaderId}`)
    replica.connect(session, this.#nowMs)
  }

  #send(session: SimSession, to: number, frame: Frame): void {
    const from = session.leader === to ? session.nodeId : session.leader
    if (frame.kind === 'answer' && frame.answer.kind === 'diverged') this.report.truncations++
    if (frame.kind === 'answer' && frame.answer.kind === 'refused' && frame.answer.reason === 'RESET')
      this.report.resets++
    if (this.#isCut(from, to)) return
    const delayMs = 1 + this.#prng.fraction() * this.#chance.delayMs
    const isLate = !this.#isHealed && this.#prng.chance(this.#chance.reorder)
    const dueMs = isLate
      ? this.#nowMs + delayMs * 10
      : Math.max(this.#nowMs + delayMs, (this.#lastDue.get(session) ?? 0) + 0.001)
    if (!isLate) this.#lastDue.set(session, dueMs)
    this.#packets.push({
      dueMs,
      deliver: () => {
        const receiver = this.#replica(to)
        if (!receiver.isUp) return
        this.#trace(`${dueMs.toFixed(1)} ${from}>${to} ${JSON.stringify(frame)}`)
        receiver.receive(session, frame, this.#nowMs)
      },
    })
  }

  #propose(replica: SimulatedReplica, proposal: IsrProposal): void {
    this.#proposals.set(replica.id, proposal)
    this.#sendProposal(replica, proposal)
  }

  /** A copy goes out over a new controller stream: what the older one brought is dropped. */
  #resend(replica: SimulatedReplica): void {
    const proposal = this.#proposals.get(replica.id)
    if (!proposal || !replica.state || !this.#prng.chance(0.3)) return
    replica.onProposalAnswer(proposal, { kind: 'unknown' }, this.#nowMs)
    this.#sendProposal(replica, proposal)
  }

  #sendProposal(replica: SimulatedReplica, proposal: IsrProposal): void {
    const stream = (this.#streams.get(replica.id) ?? 0) + 1
    this.#streams.set(replica.id, stream)
    this.controller.openStream(replica.id, stream)
    const { nodeEpoch } = replica
    this.#trace(`${this.#nowMs} ${replica.id} proposes ${JSON.stringify(proposal)}`)
    this.#later(() => {
      const answer = this.controller.alter({ nodeId: replica.id, stream }, proposal)
      this.#trace(`${this.#nowMs} alter ${replica.id} -> ${JSON.stringify(answer)}`)
      if (answer) this.#later(() => this.#answer(replica, { nodeEpoch, stream, proposal, answer }))
    })
  }

  #answer(
    replica: SimulatedReplica,
    given: { nodeEpoch: number; stream: number; proposal: IsrProposal; answer: ProposalAnswer },
  ): void {
    const { nodeEpoch, stream, proposal, answer } = given
    if (!replica.isUp || replica.nodeEpoch !== nodeEpoch || this.#streams.get(replica.id) !== stream) return
    if (this.#proposals.get(replica.id) === proposal) this.#proposals.delete(replica.id)
    replica.onProposalAnswer(proposal, answer, this.#nowMs)
  }

  #later(deliver: () => void): void {
    if (!this.#isHealed && this.#prng.chance(this.#chance.lose)) return
    this.#packets.push({ dueMs: this.#nowMs + this.#prng.fraction() * this.#chance.delayMs * 4, deliver })
  }

  #harm(): void {
    const prng = this.#prng
    const replica = prng.pick(this.replicas)
    if (replica.isUp && prng.chance(this.#chance.crash)) this.#crash(replica)
    if (replica.isUp && prng.chance(this.#chance.damage)) {
      this.#damaged = true
      replica.damage()
    }
    if (prng.chance(this.#chance.fence)) this.controller.fence(replica.id)
    if (prng.chance(this.#chance.move)) this.controller.move(replica.id)
    if (this.#movesPrng.chance(this.#readdChance)) {
      this.report.movedAndBack++
      this.controller.moveAwayAndBack(this.#movesPrng.pick([1, 2, 3]))
    }
    if (prng.chance(this.#chance.deafen))
      this.#deafUntilMs.set(replica.id, this.#nowMs + prng.fraction() * 3000)
    if (prng.chance(this.#chance.breakSession)) this.#breakSession(replica)
    if (prng.chance(this.#chance.cut)) this.#cut.add(`${replica.id}>${prng.pick([1, 2, 3])}`)
    if (prng.chance(this.#chance.cut)) this.#cut.clear()
    if (prng.chance(this.#chance.retain)) {
      replica.retain(replica.log.highWatermark - 2)
      this.oracle.retainedFrom = Math.max(this.oracle.retainedFrom, replica.log.logStartOffset)
    }
    for (const other of this.replicas)
      if (other.session && this.#isCut(other.id, other.session.leader) && prng.chance(0.05))
        this.#breakSession(other)
  }

  #crash(replica: SimulatedReplica): void {
    const prng = this.#prng
    this.report.crashes++
    const unsynced = Math.max(0, replica.log.logEndOffset - replica.durable.length)
    this.#trace(`${this.#nowMs} crash ${replica.id}`)
    for (const other of this.replicas) if (other.session?.leader === replica.id) this.#breakSession(other)
    this.#breakSession(replica)
    replica.crash(Math.floor(prng.fraction() * (unsynced + 1)))
    this.#proposals.delete(replica.id)
    this.#restartMs.set(replica.id, this.#nowMs + prng.fraction() * 1500)
    // Or the process is back before anybody notices.
    if (prng.chance(0.7)) this.controller.fence(replica.id)
    const { isr } = this.controller.state
    if (this.#wiped || isr.length < 3 || !prng.chance(this.#chance.wipe)) return
    this.#wiped = true
    replica.wipe()
    replica.directoryId = 'b'
  }

  #breakSession(replica: SimulatedReplica): void {
    const { session } = replica
    if (!session) return
    session.isAlive = false
    replica.disconnect()
    const leader = this.#replica(session.leader)
    this.#packets.push({
      dueMs: this.#nowMs + this.#prng.fraction() * 50,
      deliver: () => {
        if (leader.isUp) leader.onSessionBroken(session, this.#nowMs)
      },
    })
  }

  #boot(replica: SimulatedReplica, directoryId: string): void {
    const nodeEpoch = this.controller.register(replica.id, directoryId)
    replica.boot({ directoryId, nodeEpoch })
    this.#trace(`${this.#nowMs} boot ${replica.id} epoch ${nodeEpoch} ${replica.log.epochs}`)
    this.#check()
  }

  #heal(): void {
    this.#isHealed = true
    this.#cut.clear()
    this.#chance.produce = 0
    this.#chance.metadata = 1
    this.#restartMs.clear()
    this.#deafUntilMs.clear()
    for (const replica of this.replicas) this.#breakSession(replica)
  }

  #isConverged(): boolean {
    const { state } = this.controller
    for (const replica of this.replicas)
      if (
        replica.isUp &&
        this.controller.node(replica.id)?.isFenced &&
        replica.applied >= this.controller.log.length - 1
      )
        this.controller.unfence(replica.id)
    if (state.isr.length < 3 || this.replicas.some(replica => !replica.isUp)) return false
    const end = this.replicas[0]?.log.logEndOffset
    return this.replicas.every(({ log }) => log.logEndOffset === end && log.highWatermark === end)
  }

  /** The disk of the last member of the ISR was replaced, or found damaged: offline until somebody decides. */
  #isLost(): boolean {
    const { isr, elr } = this.controller.state
    return (this.#wiped || this.#damaged) && isr.length + elr.length === 0
  }

  #check(): void {
    this.oracle.checkAll(this.replicas, this.controller)
  }

  #replica(id: number): SimulatedReplica {
    return this.replicas[id - 1] as SimulatedReplica
  }

  #isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`) || this.#cut.has(`${to}>${from}`)
  }
}

function drawChances(prng: SeededPrng) {
  const draw = (max: number) => (prng.chance(0.3) ? 0 : prng.fraction() * max)
  return {
    produce: 0.05 + prng.fraction() * 0.4,
    sync: 0.1 + prng.fraction() * 0.7,
    replicate: 0.2 + prng.fraction() * 0.8,
    metadata: 0.1 + prng.fraction() * 0.9,
    delayMs: 1 + prng.fraction() * 100,
    crash: draw(0.02),
    damage: draw(0.01),
    fence: draw(0.01),
    move: draw(0.02),
    deafen: draw(0.01),
    breakSession: draw(0.03),
    cut: draw(0.01),
    lose: draw(0.3),
    reorder: draw(0.1),
    retain: draw(0.02),
    wipe: draw(0.5),
  }
}
