import { beforeEach, expect, it } from 'vitest'
import { Backoff } from '../../../src/client/backoff.ts'
import type { Connection } from '../../../src/client/connection.ts'
import { Membership, type MembershipEvents } from '../../../src/client/consumer/membership.ts'
import type { MessageStream, StreamHandlers } from '../../../src/ports/transport.ts'
import type { AttendRequest, AttendResponse, MessageInit } from '../../../src/wire/messages.ts'
import { Groups } from '../../../src/wire/methods.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'

/** A process that may stand still: then time passes, and nothing runs until it wakes up. */
class Process {
  nowMs = 1_000
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>()
  #due: (() => void)[] = []

  readonly clock = {
    monotonicMs: () => this.nowMs,
    setTimer: (delayMs: number, run: () => void) => {
      const timer = { atMs: this.nowMs + delayMs, run }
      this.#timers.add(timer)
      return { cancel: () => this.#timers.delete(timer) }
    },
    afterTurn: (run: () => void) => this.#due.push(run),
  }

  /** One turn of its loop: timers, then what the sockets hold, then what waited for that. */
  turn(sockets: () => void = () => {}): void {
    for (const timer of [...this.#timers].sort((a, b) => a.atMs - b.atMs)) {
      if (timer.atMs > this.nowMs || !this.#timers.delete(timer)) continue
      timer.run()
    }
    sockets()
    for (const run of this.#due.splice(0)) run()
  }
}

/** The coordinator's end of the member's newest stream. */
class Coordinator {
  readonly asked: AttendRequest[] = []
  #handlers: StreamHandlers | undefined

  open(): MessageStream {
    return {
      metadata: {},
      write: bytes => {
        this.asked.push(Groups.attend.request.decode(Buffer.from(bytes)))
        return true
      },
      end() {},
      fail: error => this.#handlers?.onClose?.(error as never),
      pause() {},
      resume() {},
      setHandlers: handlers => {
        this.#handlers = handlers
      },
    } as MessageStream
  }

  say(frame: MessageInit<AttendResponse>): void {
    this.#handlers?.onMessage(Buffer.from(Groups.attend.response.encode(frame)))
  }

  /** The last heartbeat. */
  answer(): void {
    const number = this.asked.findLast(({ heartbeat }) => heartbeat)?.heartbeat?.number ?? 0
    this.say({ heartbeat: { number, memberEpoch: 1 } })
  }
}

let process: Process
let coordinator: Coordinator
let told: string[]
let membership: Membership

const assigned = (partition: number) => ({
  assigned: { memberEpoch: 2, partitions: [{ topic: 'logs', topicId: 'id', partition, nextOffset: 0 }] },
})

beforeEach(() => {
  process = new Process()
  coordinator = new Coordinator()
  told = []
  const prng = new SeededPrng(1)
  const channel = { address: 'node-1', stream: () => coordinator.open() }
  const connection = {
    clock: process.clock,
    prng,
    nodes: { entry: () => channel, onSilent: () => () => {}, avoidEntry() {} },
    backoff: () => new Backoff({ prng, firstMs: 50, maxMs: 1_000 }),
  } as unknown as Connection
  const tell =
    (what: string) =>
    ({ partitions }: { partitions: readonly { partition: number }[] }) =>
      told.push(`${what} ${partitions.map(({ partition }) => partition).join()}`)
  const events = {
    onJoined: () => told.push('joined'),
    onAssigned: tell('assigned'),
    onRevoking: tell('revoking'),
    onLost: tell('lost'),
    onSettled: () => told.push('settled'),
    onExpelled: () => told.push('expelled'),
    onHeard() {},
    onTrouble() {},
    onFailed: () => told.push('failed'),
  } as MembershipEvents
  const settings = { group: 'g', topics: ['logs'], member: 'm', clientId: '', start: { at: 'EARLIEST' } }
  membership = new Membership({ connection, settings: settings as never, events })
  process.turn()
  coordinator.say({ joined: { member: 'm', memberEpoch: 1, sessionTimeoutMs: 10_000, warnings: [] } })
  coordinator.say(assigned(0))
  coordinator.answer()
  process.turn()
})

it('that wakes up from a standstill is told what it finds only once it is heard', () => {
  expect(told).toEqual(['joined', 'assigned 0'])
  process.nowMs += 5_000
  process.turn(() => {
    coordinator.say(assigned(1))
    coordinator.say({ lost: { partitions: [{ topic: 'logs', partition: 0 }] } })
  })
  expect(told).toEqual(['joined', 'assigned 0'])
  coordinator.answer()
  expect(told).toEqual(['joined', 'assigned 0', 'assigned 1', 'lost 0', 'settled'])
})

it('that wakes up after its session is not told what was said before', () => {
  process.nowMs += 11_000
  process.turn(() => coordinator.say(assigned(1)))
  expect(told).toEqual(['joined', 'assigned 0', 'expelled'])
  process.nowMs += 1_000
  process.turn()
  coordinator.say({ joined: { member: 'm', memberEpoch: 5, sessionTimeoutMs: 10_000, warnings: [] } })
  coordinator.say(assigned(2))
  expect(told.slice(3)).toEqual(['joined', 'assigned 2'])
})

it('joins as one process, and counts its joins', () => {
  process.nowMs += 11_000
  process.turn()
  process.nowMs += 1_000
  process.turn()
  const joins = coordinator.asked.flatMap(({ join }) => join ?? [])
  expect(joins.map(({ attempt }) => attempt)).toEqual([1, 2])
  expect(joins[0]?.instance).toMatch(/./)
  expect(joins[1]?.instance).toBe(joins[0]?.instance)
  membership.abandon()
})
