/**
 * Tells a Raft story: runs the commands of a scenario text and writes down what every node does and says.
 * The commands are listed in test/scenarios/raft/README.md. Everything happens only when the text says so:
 * messages wait to be delivered, writes wait to be synced, and each node has a clock of its own.
 */
import type { MemberId, MembershipChange } from '../../src/raft/membership.ts'
import { NO_MEMBERS } from '../../src/raft/membership.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import type { RaftLimits } from '../../src/raft/raft-options.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import { diskLast, emptyDisk, type Packet, type RaftDisk, RaftMember } from './raft-member.ts'
import {
  describeEntry,
  describeEvent,
  describeMembership,
  describeMessage,
  describePosition,
  describeStatus,
  longId,
  shortId,
} from './raft-transcript.ts'

interface Host {
  readonly id: MemberId
  disk: RaftDisk
  member: RaftMember | undefined
  nowMs: number
  incarnation: number
}

interface Command {
  readonly name: string
  readonly words: readonly string[]
  readonly options: ReadonlyMap<string, string>
}

const LIMIT_OPTIONS: Readonly<Record<string, keyof RaftLimits>> = {
  'append-entries': 'appendEntriesMax',
  'inflight-messages': 'inflightMessagesMax',
  'uncommitted-bytes': 'uncommittedBytesMax',
  reads: 'readsMax',
}

/** The text with what follows each `----` written anew. */
export function retell(text: string): string {
  const scenario = new RaftScenario()
  const blocks = text.trimEnd().split(/\n\n+/)
  return `${blocks.map(block => retellBlock(scenario, block)).join('\n\n')}\n`
}

function retellBlock(scenario: RaftScenario, block: string): string {
  const lines = block.split('\n')
  const end = lines.indexOf('----')
  const head = end === -1 ? lines : lines.slice(0, end)
  const commands = head.filter(line => line !== '' && !line.startsWith('#'))
  if (commands.length === 0) return block
  const told = commands.flatMap(command => scenario.run(command))
  return [...head, '----', ...(told.length > 0 ? told : ['ok'])].join('\n')
}

export class RaftScenario {
  readonly #hosts = new Map<MemberId, Host>()
  #network: Packet[] = []
  #told: string[] = []
  #isQuiet = false
  #limits: Partial<RaftLimits> = {}

  run(line: string): string[] {
    this.#told = []
    const wasQuiet = this.#isQuiet
    this.#obey(parse(line))
    return wasQuiet && this.#isQuiet ? [] : this.#told
  }

  #obey(command: Command): void {
    const { name, words } = command
    const on = (index: number) => this.#host(words[index])
    switch (name) {
      case 'quiet':
        this.#isQuiet = words[0] !== 'off'
        break
      case 'add-nodes':
        this.#addNodes(command)
        break
      case 'add-empty':
        this.#addHost(longId(words[0] ?? ''), emptyDisk({ index: 0, term: 0, membership: NO_MEMBERS }))
        break
      case 'campaign':
        this.#campaign(on(0))
        break
      case 'advance':
        this.#advance(words)
        break
      case 'stall':
        on(0).nowMs += Number(words[1])
        this.#step(on(0), { type: 'tick' })
        break
      case 'deliver':
        this.#deliver(words.map(longId), command)
        break
      case 'drop':
        this.#drop(words.map(longId))
        break
      case 'persist':
        this.#persist(on(0), Number(words[1] ?? Number.POSITIVE_INFINITY))
        break
      case 'stabilize':
        this.#stabilize(words.map(longId), command)
        break
      case 'propose':
        this.#step(on(0), { type: 'propose', commands: words.slice(1).map(word => Buffer.from(word)) })
        break
      case 'read':
        this.#step(on(0), { type: 'read-index', ticket: Number(words[1]) })
        break
      case 'transfer':
        this.#step(on(0), { type: 'transfer', to: longId(words[1] ?? '') })
        break
      case 'change': {
        const op = words[1] as MembershipChange['op']
        const change = { op, member: longId(words[2] ?? '') }
        this.#step(on(0), { type: 'change-membership', change })
        break
      }
      case 'lost':
      case 'restored':
        this.#step(on(0), { type: `connection-${name}`, member: longId(words[1] ?? '') })
        break
      case 'snapshot-failed':
        this.#step(on(0), { type: 'snapshot-report', to: longId(words[1] ?? ''), status: 'failed' })
        break
      case 'compact':
        on(0).member?.compact(Number(command.options.get('keep') ?? 0), on(0).nowMs)
        this.#tell(`${shortId(on(0).id)} has a snapshot at ${describePosition(on(0).disk.snapshot)}`)
        break
      case 'crash':
        this.#crash(on(0), Number(command.options.get('reached') ?? 0))
        break
      case 'restart':
        this.#start(on(0))
        this.#tell(`${shortId(on(0).id)} starts ${describeDisk(on(0).disk)}`)
        break
      case 'status':
        for (const host of this.#chosen(words))
          this.#tellAll(describeStatus(host.member?.node.status, host.id))
        break
      case 'log':
        for (const host of this.#chosen(words)) this.#tell(`${shortId(host.id)} ${describeDisk(host.disk)}`)
        break
      default:
        throw new Error(`scenario: unknown command ${name}`)
    }
  }

  #addNodes({ words, options }: Command): void {
    const learners = list(options.get('learners')).map(longId)
    const voters = Array.from({ length: Number(words[0]) }, (_, i) => longId(`${i + 1}`)).filter(
      id => !learners.includes(id),
    )
    for (const [option, limit] of Object.entries(LIMIT_OPTIONS)) {
      const value = options.get(option)
      if (value !== undefined) this.#limits = { ...this.#limits, [limit]: Number(value) }
    }
    const membership = { voters, learners }
    for (const id of [...voters, ...learners]) this.#addHost(id, emptyDisk({ index: 0, term: 0, membership }))
    this.#tell(describeMembership(membership))
  }

  #addHost(id: MemberId, disk: RaftDisk): void {
    const host: Host = { id, disk, member: undefined, nowMs: 0, incarnation: 0 }
    this.#hosts.set(id, host)
    this.#start(host)
  }

  #start(host: Host): void {
    host.incarnation++
    // Node 1 draws the shortest waits, node 2 longer ones, and so on.
    const random = () => ((Number.parseInt(host.id, 10) - 1) % 10) / 10
    host.member = new RaftMember({
      self: host.id,
      disk: host.disk,
      nowMs: host.nowMs,
      incarnation: `${shortId(host.id)}.${host.incarnation}`,
      random,
      limits: this.#limits,
      send: packet => this.#network.push(packet),
      onOutput: (member, output) => this.#tellOutput(member, output),
    })
  }

  #crash(host: Host, reached: number): void {
    const lost = (host.member?.writes.length ?? 0) - reached
    host.disk = host.member?.crash(reached) ?? host.disk
    host.member = undefined
    this.#network = this.#network.filter(({ message }) => message.to !== host.id)
    this.#tell(
      `${shortId(host.id)} crashes, ${Math.max(lost, 0)} writes lost, has ${describeDisk(host.disk)}`,
    )
  }

  #campaign(host: Host): void {
    const isWaiting = () => {
      const role = host.member?.node.status.role
      return role === 'follower'
    }
    for (let i = 0; i < 30 && isWaiting(); i++) this.#advanceHost(host, 100)
  }

  /** `advance 500` is for all nodes, `advance 2 500` for node 2. */
  #advance(words: readonly string[]): void {
    const ms = Number(words.at(-1))
    const hosts = words.length > 1 ? this.#chosen(words.slice(0, -1)) : [...this.#hosts.values()]
    for (const host of hosts) this.#advanceHost(host, ms)
  }

  #advanceHost(host: Host, ms: number): void {
    const endMs = host.nowMs + ms
    while (host.member !== undefined && host.member.node.nextTickMs <= endMs) {
      host.nowMs = Math.max(host.nowMs, host.member.node.nextTickMs)
      this.#step(host, { type: 'tick' })
    }
    host.nowMs = endMs
  }

  #deliver(to: readonly MemberId[], { options }: Command): boolean {
    const kind = options.get('only')
    const dropped = list(options.get('drop')).map(longId)
    const now = this.#network
    this.#network = []
    let delivered = false
    for (const packet of now) {
      const { message } = packet
      const host = this.#hosts.get(message.to)
      if (dropped.includes(message.to) || dropped.includes(message.from)) {
        this.#tell(`dropped: ${describeMessage(message)}`)
      } else if (
        (to.length === 0 || to.includes(message.to)) &&
        (kind === undefined || kind === message.type)
      ) {
        if (host?.member === undefined) continue
        this.#tell(`${describeMessage(message)}`)
        host.member.deliver(packet, host.nowMs)
        delivered = true
      } else {
        this.#network.push(packet)
      }
    }
    return delivered
  }

  #drop(to: readonly MemberId[]): void {
    this.#network = this.#network.filter(({ message }) => {
      const isDropped = to.length === 0 || to.includes(message.to)
      if (isDropped) this.#tell(`dropped: ${describeMessage(message)}`)
      return !isDropped
    })
  }

  #persist(host: Host, count: number): void {
    for (let i = 0; i < count && (host.member?.writes.length ?? 0) > 0; i++) {
      const write = host.member?.writes[0]
      if (write?.persist !== undefined)
        this.#tell(`${shortId(host.id)} synced to ${describePosition(write.persist.mark.last)}`)
      host.member?.syncOne(host.nowMs)
    }
  }

  #stabilize(ids: readonly MemberId[], command: Command): void {
    const hosts = ids.length > 0 ? ids.map(id => this.#host(id)) : [...this.#hosts.values()]
    for (let i = 0; i < 100; i++) {
      const isWriting = hosts.some(host => (host.member?.writes.length ?? 0) > 0)
      for (const host of hosts) this.#persist(host, Number.POSITIVE_INFINITY)
      if (!this.#deliver(ids, command) && !isWriting) return
    }
    throw new Error('scenario: does not come to rest')
  }

  #step(host: Host, input: RaftInput): void {
    if (host.member === undefined) throw new Error(`scenario: ${host.id} does not run`)
    host.member.step(input, host.nowMs)
  }

  #tellOutput(member: RaftMember, output: RaftOutput): RaftOutput {
    const lines = output.events.map(describeEvent)
    if (output.refusal !== undefined)
      lines.push(`refuses (${output.refusal.reason}): ${output.refusal.message}`)
    if (output.accepted !== undefined) lines.push(`accepts to ${describePosition(output.accepted)}`)
    const { persist } = output
    if (persist?.hardState !== undefined) {
      const { term, votedFor } = persist.hardState
      lines.push(`persists term ${term} vote ${votedFor === undefined ? 'none' : shortId(votedFor)}`)
    }
    if (persist?.snapshot !== undefined) lines.push(`persists snapshot ${describePosition(persist.snapshot)}`)
    for (const entry of persist?.entries ?? []) lines.push(`persists ${describeEntry(entry)}`)
    for (const message of output.sendNow) lines.push(`sends ${describeMessage(message)}`)
    for (const message of output.sendAfterPersist) lines.push(`sends after sync ${describeMessage(message)}`)
    for (const entry of output.committed) lines.push(`applies ${describeEntry(entry)}`)
    for (const { ticket, index } of output.readStates) lines.push(`may answer read ${ticket} at ${index}`)
    for (const line of lines) this.#tell(`  ${shortId(member.id)} ${line}`)
    return output
  }

  #host(id: string | undefined): Host {
    const host = this.#hosts.get(longId(id ?? ''))
    if (host === undefined) throw new Error(`scenario: there is no node ${id}`)
    return host
  }

  #chosen(words: readonly string[]): Host[] {
    return words.length > 0 ? words.map(word => this.#host(word)) : [...this.#hosts.values()]
  }

  #tell(line: string): void {
    this.#told.push(line)
  }

  #tellAll(lines: readonly string[]): void {
    this.#told.push(...lines)
  }
}

function parse(line: string): Command {
  const [name = '', ...rest] = line.trim().split(/\s+/)
  const options = new Map<string, string>()
  const words: string[] = []
  for (const word of rest) {
    const match = /^([a-z-]+)=(.*)$/.exec(word)
    if (match?.[1] !== undefined) options.set(match[1], match[2] ?? '')
    else words.push(word)
  }
  return { name, words, options }
}

/** `(1,2)` as ['1', '2']. */
function list(value: string | undefined): string[] {
  return value === undefined ? [] : value.replace(/[()]/g, '').split(',').filter(Boolean)
}

function describeDisk(disk: RaftDisk): string {
  const { term, votedFor } = disk.hardState
  const entries = disk.entries.map(describeEntry).join(', ')
  const vote = votedFor === undefined ? 'none' : shortId(votedFor)
  const start = disk.snapshot.index > 0 ? ` snapshot ${describePosition(disk.snapshot)}` : ''
  return `on disk: term ${term} vote ${vote}${start} last ${describePosition(diskLast(disk))} [${entries}]`
}
