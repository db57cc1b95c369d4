import { beforeEach, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { TopicView } from '../../src/metadata/topic-image.ts'
import type { MessageStream, StreamHandlers } from '../../src/ports/transport.ts'
import { AppendLink, type AppendOutcome } from '../../src/service/append-link.ts'
import { Producer } from '../../src/wire/methods.ts'
import { SimMachine } from '../harness/sim-machine.ts'

/** A leader that answers what the test says. */
class FakeLeader implements MessageStream {
  readonly metadata = {}
  readonly written: Uint8Array[] = []
  isFull = false
  handlers: StreamHandlers | undefined
  write(message: Uint8Array): boolean {
    this.written.push(message)
    return !this.isFull
  }
  end(): void {}
  fail(error: Error): void {
    this.handlers?.onClose?.(NaruError.from(error))
  }
  pause(): void {}
  resume(): void {}
  setHandlers(handlers: StreamHandlers): void {
    this.handlers = handlers
  }
  open(): void {
    this.handlers?.onMessage(Producer.produceStream.response.encode({}))
  }
}

let machine: SimMachine
let leader: FakeLeader
let link: AppendLink
let outcomes: (AppendOutcome | undefined)[]

beforeEach(() => {
  machine = new SimMachine(1)
  leader = new FakeLeader()
  outcomes = []
  link = new AppendLink({ clock: machine.clock, leaderId: 2, open: () => leader, onClosed: () => {} })
})

function send(bytes: number): void {
  const place = outcomes.push(undefined) - 1
  link.send({
    topic: { id: 'id', name: 'logs' } as TopicView,
    partition: 0,
    batch: Buffer.alloc(bytes),
    acks: 'ALL',
    leaderEpoch: 3,
    deadlineMs: machine.clock.monotonicMs() + 30_000,
    done: outcome => {
      outcomes[place] = outcome
    },
  })
}

const errors = () =>
  outcomes.map(one => (one?.kind === 'failed' ? `${one.error.reason} ${one.error.outcome}` : one?.kind))

it('sends nothing to a leader that has not opened the stream, and gives it a second', async () => {
  send(100)
  await machine.scheduler.runFor(900)
  expect(leader.written).toEqual([])
  expect(outcomes).toEqual([undefined])
  await machine.scheduler.runFor(200)
  expect(errors()).toEqual(['CONNECTION_FAILED none'])
})

it('gathers what a turn brings, and tells of each what is known when the stream breaks', async () => {
  leader.open()
  for (let count = 0; count < 3; count++) send(100)
  await machine.scheduler.runFor(1)
  expect(leader.written).toHaveLength(1)
  const { seq, entries } = Producer.produceStream.request.decode(Buffer.from(leader.written[0] as Uint8Array))
  expect(entries.map(({ leaderEpoch }) => leaderEpoch)).toEqual([3, 3, 3])
  const answers = [{ seq, entry: 0, results: [{ partition: 0, offset: 7 }] }]
  leader.handlers?.onMessage(Producer.produceStream.response.encode({ answers }))
  leader.isFull = true
  send(300_000)
  send(100)
  await machine.scheduler.runFor(1)
  leader.fail(new NaruError('CONNECTION_FAILED', 'broken'))
  const lost = 'CONNECTION_FAILED unknown'
  expect(errors()).toEqual(['stored', lost, lost, lost, 'CONNECTION_FAILED none'])
})

it('sheds what a leader that does not answer would pile up', async () => {
  leader.open()
  for (let count = 0; count < 10; count++) send(8 * 1024 * 1024)
  await machine.scheduler.runFor(1)
  expect(errors()).toEqual([...Array(8).fill(undefined), 'OVERLOADED none', 'OVERLOADED none'])
})

it('gives up a leader that answers no more', async () => {
  leader.open()
  send(100)
  await machine.scheduler.runFor(34_000)
  expect(outcomes).toEqual([undefined])
  await machine.scheduler.runFor(2_000)
  expect(errors()).toEqual(['CONNECTION_FAILED unknown'])
})
