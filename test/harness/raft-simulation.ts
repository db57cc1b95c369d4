/**
 * A cluster of Raft cores under one seed: a network that loses, repeats, reorders, delays and partitions; disks
 * that lose what was not synced; crashes, pauses, membership changes, leadership transfers, snapshots and
 * reads. `RaftOracle` judges every step. At the end everything heals, and the cluster must converge.
 *
 * Every seed draws its own probabilities ("swarm"): some runs are calm, some hardly get a leader.
 */
import { type MemberId, type MembershipChange, NO_MEMBERS } from '../../src/raft/membership.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import type { RaftNode } from '../../src/raft/raft-node.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import { emptyDisk, type Packet, type RaftDisk, RaftMember } from './raft-member.ts'
import { check, RaftOracle } from './raft-oracle.ts'
import { SeededPrng } from './seeded-prng.ts'

export interface RaftSimulationOptions {
  readonly seed: number
  readonly steps?: number
  readonly nodeClass?: typeof RaftNode
  /** Told every step, for the hunt after a seed that fails. */
  readonly trace?: (line: string) => void
  /** A planted bug of the driver. */
  readonly spoil?: (output: RaftOutput) => RaftOutput
}

/** What a run did, to show that the faults really happen. */
export interface RaftSimulationReport {
  committed: number
  leaders: number
  crashes: number
  snapshots: number
  changes: number
  reads: number
  hash: string
}

const STEP_MS = 5
const TIMING = {
  heartbeatMs: 20,
  electionTimeoutMs: { min: 100, max: 200 },
  lostLeaderTimeoutMs: { min: 30, max: 60 },
  snapshotTimeoutMs: 200,
}

interface Host {
  readonly id: MemberId
  disk: RaftDisk
  member: RaftMember | undefined
  incarnation: number
  pausedUntilMs: number
  inbox: { dueMs: number; packet: Packet }[]
  syncDueMs: number
}

export class RaftSimulation {
  readonly report: RaftSimulationReport = {
    committed: 0,
    leaders: 0,
    crashes: 0,
    snapshots: 0,
    changes: 0,
    reads: 0,
    hash: '',
  }
  readonly oracle: RaftOracle
  readonly #options: RaftSimulationOptions
  readonly #random: () => number
  readonly #hosts = new Map<MemberId, Host>()
  readonly #chance: ReturnType<typeof drawChances>
  #nowMs = 1000
  #cut = new Set<string>()
  #healed = false
  #tickets = 0
  #commands = 0

  constructor(options: RaftSimulationOptions) {
    this.#options = options
    const prng = new SeededPrng(options.seed)
    this.#random = () => prng.fraction()
    this.#chance = drawChances(this.#random)
    this.oracle = new RaftOracle(member => this.#hosts.get(member)?.disk)
    const voterCount = this.#pick([1, 3, 3, 3, 5])
    const voters = Array.from({ length: voterCount }, (_, i) => `${i + 1}@a`)
    const start = { index: 0, term: 0, membership: { voters, learners: [] } }
    for (const id of voters) this.#addHost(id, emptyDisk(start))
    // Newcomers, two of them on the node of a voter: its disk was replaced, and yet the old one is still about.
    const nobody = { index: 0, term: 0, membership: { voters: [], learners: [] } }
    for (const id of ['1@b', '2@b', '8@a', '9@a']) this.#addHost(id, emptyDisk(nobody))
  }

  /** Throws at the first breach, and when the healed cluster does not converge. */
  run(): RaftSimulationReport {
    const steps = this.#options.steps ?? 600
    for (let i = 0; i < steps; i++) {
      this.#harm()
      this.#work()
      this.#advance()
    }
    this.#heal()
    this.#converge()
    this.report.committed = this.oracle.committedMax
    return this.report
  }

  #addHost(id: MemberId, disk: RaftDisk): void {
    const host: Host = {
      id,
      disk,
      member: undefined,
      incarnation: 0,
      pausedUntilMs: 0,
      inbox: [],
      syncDueMs: 0,
    }
    this.#hosts.set(id, host)
    this.#start(host)
  }

  #start(host: Host): void {
    host.incarnation++
    host.inbox = []
    host.member = new RaftMember({
      self: host.id,
      disk: host.disk,
      nowMs: this.#nowMs,
      incarnation: `${host.id}-${host.incarnation}`,
      random: this.#random,
      timing: TIMING,
      limits: {
        appendEntriesMax: this.#pick([1, 3, 100]),
        inflightMessagesMax: this.#pick([1, 4]),
        applyBytesMax: 20,
      },
      send: packet => this.#send(host, packet),
      onOutput: (member, output, input) => this.#onOutput(member, output, input),
      ...(this.#options.nodeClass && { nodeClass: this.#options.nodeClass }),
    })
    for (const other of this.#hosts.values()) {
      other.member?.step({ type: 'connection-restored', member: host.id }, this.#nowMs)
    }
  }

  #onOutput(member: RaftMember, given: RaftOutput, input: RaftInput): RaftOutput {
    this.#options.trace?.(describe(this.#nowMs, member, input, given))
    this.oracle.onOutput(member, given, input)
    this.oracle.onApplied(member)
    if (input.type === 'change-membership' && given.refusal === undefined) this.report.changes++
    if (given.persist?.snapshot !== undefined) this.report.snapshots++
    this.report.reads += given.readStates.length
    for (const event of given.events) {
      if (event.type === 'role-changed' && event.role === 'leader') this.report.leaders++
    }
    this.report.hash = mix(
      this.report.hash,
      `${member.id}${input.type}${given.sendNow.length}${given.committed.length}`,
    )
    return this.#options.spoil?.(given) ?? given
  }

  #send(host: Host, packet: Packet): void {
    const { message } = packet
    if (host.member !== undefined) this.oracle.onSend(host.member, message)
    const to = this.#hosts.get(message.to)
    if (to === undefined) return
    const { loss, duplicate, slow } = this.#chance
    const copies = this.#healed ? 1 : this.#hit(loss) ? 0 : this.#hit(duplicate) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const delayMs = this.#healed ? 5 : this.#hit(slow) ? this.#random() * 600 : this.#random() * 30
      to.inbox.push({ dueMs: this.#nowMs + delayMs, packet })
    }
  }

  #advance(): void {
    this.#nowMs += STEP_MS
    for (const host of this.#hosts.values()) {
      if (host.member === undefined || host.pausedUntilMs > this.#nowMs - STEP_MS) continue
      this.#deliverDue(host)
      if (host.syncDueMs <= this.#nowMs && host.member.writes.length > 0) {
        host.member.syncOne(this.#nowMs)
        host.syncDueMs = this.#nowMs + (this.#healed ? 0 : this.#random() * this.#chance.syncMs)
      }
      if (host.member.node.nextTickMs <= this.#nowMs) host.member.step({ type: 'tick' }, this.#nowMs)
    }
  }

  #deliverDue(host: Host): void {
    const due = host.inbox.filter(item => item.dueMs <= this.#nowMs)
    if (due.length === 0) return
    host.inbox = host.inbox.filter(item => item.dueMs > this.#nowMs)
    due.sort((a, b) => a.dueMs - b.dueMs)
    for (const { packet } of due) {
      if (!this.#cut.has(`${packet.message.from}>${host.id}`)) host.member?.deliver(packet, this.#nowMs)
    }
  }

  #harm(): void {
    const { crash, pause, partition } = this.#chance
    const hosts = [...this.#hosts.values()]
    for (const host of hosts) {
      if (host.member === undefined) {
        if (this.#hit(0.05)) this.#start(host)
      } else if (this.#hit(crash)) {
        this.#crash(host)
      } else if (this.#hit(pause)) {
        host.pausedUntilMs = this.#nowMs + this.#random() * 500
      } else if (this.#hit(this.#chance.pauseLeader) && this.#isLeading(host)) {
        // Long enough for the others to elect and commit: it wakes up a leader of the past.
        host.pausedUntilMs = this.#nowMs + 200 + this.#random() * 600
      }
    }
    if (this.#hit(partition)) this.#cut = this.#hit(0.4) ? new Set() : this.#drawCut(hosts)
  }

  #crash(host: Host): void {
    const { member } = host
    if (member === undefined) return
    host.disk = member.crash(Math.floor(this.#random() * (member.writes.length + 1)))
    host.member = undefined
    this.report.crashes++
    for (const other of this.#hosts.values()) {
      const link = `${host.id}>${other.id}`
      if (this.#cut.has(link) || this.#hit(0.2)) continue
      other.member?.step({ type: 'connection-lost', member: host.id }, this.#nowMs)
    }
  }

  #drawCut(hosts: readonly Host[]): Set<string> {
    const cut = new Set<string>()
    const side = new Set(hosts.filter(() => this.#hit(0.5)).map(host => host.id))
    const isOneWay = this.#hit(0.3)
    for (const from of hosts) {
      for (const to of hosts) {
        if (side.has(from.id) === side.has(to.id) || (isOneWay && side.has(to.id))) continue
        cut.add(`${from.id}>${to.id}`)
      }
    }
    return cut
  }

  #work(): void {
    const running = [...this.#hosts.values()].filter(host => host.member !== undefined)
    if (running.length === 0) return
    const leaders = running.filter(host => this.#isLeading(host))
    const { propose, read, change, transfer, compact } = this.#chance
    for (const leader of leaders) {
      if (this.#hit(propose)) this.#propose(leader)
      if (this.#hit(change))
        this.#step(leader, { type: 'change-membership', change: this.#drawChange(leader) })
      if (this.#hit(transfer)) this.#step(leader, { type: 'transfer', to: this.#pick(running).id })
      if (this.#hit(read)) this.#read(leader)
    }
    if (this.#hit(read)) this.#read(this.#pick(running))
    // What clients asked meanwhile is taken up before the network is read.
    for (const host of running) if (this.#wakes(host) && this.#hit(0.5)) this.#read(host)
    if (this.#hit(compact)) this.#pick(running).member?.compact(this.#pick([0, 0, 3]), this.#nowMs)
  }

  #wakes(host: Host): boolean {
    return host.pausedUntilMs <= this.#nowMs && host.pausedUntilMs > this.#nowMs - STEP_MS
  }

  #isLeading(host: Host): boolean {
    return host.member?.node.status.role === 'leader'
  }

  #propose(leader: Host): void {
    const commands = Array.from({ length: this.#pick([1, 1, 3]) }, () => Buffer.from(`c${++this.#commands}`))
    this.#step(leader, { type: 'propose', commands })
  }

  #read(host: Host): void {
    const ticket = ++this.#tickets
    this.oracle.readBegins(ticket)
    this.#step(host, { type: 'read-index', ticket })
  }

  #step(host: Host, input: RaftInput): void {
    if (host.pausedUntilMs <= this.#nowMs) host.member?.step(input, this.#nowMs)
  }

  #drawChange(leader: Host): MembershipChange {
    const membership = leader.member?.node.membership ?? NO_MEMBERS
    const op = this.#pick(['add-learner', 'promote', 'promote', 'demote', 'remove'] as const)
    const { voters, learners } = membership
    const outsiders = [...this.#hosts.keys()].filter(id => !voters.includes(id) && !learners.includes(id))
    const fitting = {
      'add-learner': outsiders,
      promote: learners,
      demote: voters,
      remove: [...voters, ...learners],
    }
    // Below three voters there is little left that could go wrong.
    const shrinks = op === 'demote' || op === 'remove'
    if (shrinks && voters.length <= 2)
      return { op: 'add-learner', member: this.#pick([...this.#hosts.keys()]) }
    const choice = fitting[op]
    return { op, member: this.#pick(choice.length > 0 ? choice : [...this.#hosts.keys()]) }
  }

  #heal(): void {
    this.#healed = true
    this.#cut = new Set()
    for (const host of this.#hosts.values()) {
      host.pausedUntilMs = 0
      if (host.member === undefined) this.#start(host)
    }
  }

  /** Whoever is a member by then must have caught up with a leader that commits. */
  #converge(): void {
    for (let i = 0; i < 6000; i++) {
      this.#advance()
      const leader = this.#leader()
      if (i % 20 === 0 && leader !== undefined) this.#propose(leader)
      if (i > 400 && i % 20 === 15 && this.#hasConverged()) return
    }
    const states = [...this.#hosts.values()].map(host => {
      const status = host.member?.node.status
      return `${host.id} ${status?.role} term ${status?.term} last ${status?.last.index} commit ${status?.commitIndex}`
    })
    check(false, `not converged after healing:\n  ${states.join('\n  ')}`)
  }

  #leader(): Host | undefined {
    return [...this.#hosts.values()].find(host => host.member?.node.status.isReady)
  }

  #hasConverged(): boolean {
    const status = this.#leader()?.member?.node.status
    if (status === undefined || status.commitIndex !== status.last.index || status.commitIndex === 0)
      return false
    const { voters, learners } = status.membership
    return [...voters, ...learners].every(
      id => this.#hosts.get(id)?.member?.applied.index === status.commitIndex,
    )
  }

  #hit(probability: number): boolean {
    return this.#random() < probability
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T
  }
}

function drawChances(random: () => number) {
  const upTo = (max: number) => (random() < 0.25 ? 0 : random() * max)
  return {
    loss: upTo(0.3),
    duplicate: upTo(0.3),
    slow: upTo(0.3),
    syncMs: upTo(40),
    crash: upTo(0.006),
    pause: upTo(0.004),
    pauseLeader: upTo(0.02),
    partition: upTo(0.03),
    propose: 0.05 + random() * 0.4,
    read: upTo(0.3),
    change: upTo(0.1),
    transfer: upTo(0.02),
    compact: upTo(0.1),
  }
}

function mix(hash: string, text: string): string {
  let value = 0x811c9dc5
  const all = hash + text
  for (let i = 0; i < all.length; i++) value = Math.imul(value ^ all.charCodeAt(i), 0x01000193) >>> 0
  return value.toString(36)
}

function describe(nowMs: number, member: RaftMember, input: RaftInput, output: RaftOutput): string {
  const { role, term, last, commitIndex } = member.node.status
  const what = JSON.stringify(input.type === 'message' ? input.message : input)
  const events = output.events.map(event => event.type).join(' ')
  return `${nowMs} ${member.id} ${role} term ${term} last ${last.index} commit ${commitIndex} <- ${what} ${events}`
}
