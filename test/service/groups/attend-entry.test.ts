import { expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { PartitionCoordinator } from '../../../src/drivers/groups/coordination.ts'
import type { GroupCoordinator } from '../../../src/groups/group-coordinator.ts'
import type { CallContext, MessageStream, StreamHandlers } from '../../../src/ports/transport.ts'
import { AttendEntry } from '../../../src/service/groups/attend-entry.ts'
import type { GroupsTopic } from '../../../src/service/groups/groups-topic.ts'
import { ReadMemory } from '../../../src/service/read-memory.ts'
import type { ServiceNode } from '../../../src/service/service-node.ts'
import type { AttendRequest, MessageInit } from '../../../src/wire/messages.ts'
import { Groups } from '../../../src/wire/methods.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'

/** What was on its way when reading stopped still arrives, as the port allows; the rest comes in the very call that resumes. */
class HastyStream implements MessageStream {
  readonly metadata = {}
  readonly heartbeats: number[] = []
  isPaused = false
  #waiting: Buffer[] = []
  #handlers: StreamHandlers | undefined

  write(message: Uint8Array): boolean {
    const { heartbeat } = Groups.attend.response.decode(Buffer.from(message))
    if (heartbeat) this.heartbeats.push(heartbeat.number)
    return true
  }

  end(): void {}

  fail(error: Error): void {
    throw error
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    while (!this.isPaused && this.#waiting.length > 0) this.arrive(this.#waiting.shift() as Buffer)
  }

  setHandlers(handlers: StreamHandlers): void {
    this.#handlers = handlers
  }

  halfClose(): void {
    this.#handlers?.onEnd?.()
  }

  cancel(): void {
    this.#handlers?.onClose?.(new NaruError('CANCELLED', 'the client has cancelled'))
  }

  arrive(frame: Buffer): void {
    this.#handlers?.onMessage(frame)
  }

  wait(frame: Buffer): void {
    this.#waiting.push(frame)
  }
}

const frame = (of: MessageInit<AttendRequest>) => Groups.attend.request.encode(of)
const heartbeat = (number: number) => frame({ heartbeat: { number } })
/** A third of the session timeout. */
const SIGN_OF_LIFE_MS = 300
const turns = () => new Promise(resolve => setTimeout(resolve, 20))

interface Joining {
  readonly stream: HastyStream
  readonly answer: () => void
  /** Everything that waits for its time, but for signs of life. */
  readonly passTime: () => void
  /** How often it was asked to be taken out. */
  readonly leaves: { count: number }
}

/** A member that has just begun to join, at a coordinator that answers once it is let. */
function joining(): Joining {
  let answer = () => {}
  const answering = new Promise<void>(resolve => {
    answer = resolve
  })
  const response = {
    stream: { group: 'g', member: 'm', attachEpoch: 1 },
    memberEpoch: 1,
    sessionTimeoutMs: 1_000,
    warnings: [],
  }
  const leaves = { count: 0 }
  const leave = () => {
    leaves.count++
    return { response: undefined }
  }
  const members = { attend: () => response, heartbeat: () => response, leave, disconnect: () => response }
  const timers = new Set<{ readonly ms: number; readonly run: () => void }>()
  const setTimer = (ms: number, run: () => void) => {
    const timer = { ms, run }
    timers.add(timer)
    return { cancel: () => timers.delete(timer) }
  }
  const coordinator = {
    run: async (handler: (groups: GroupCoordinator) => unknown) => {
      await answering
      return handler({ members, settings: {} } as unknown as GroupCoordinator)
    },
    watch: () => ({ released() {}, close() {} }),
  } as unknown as PartitionCoordinator
  const node = {
    nodeId: 1,
    clock: { monotonicMs: () => 0, setTimer },
    prng: new SeededPrng(1),
    groups: { of: () => coordinator },
  } as unknown as ServiceNode
  const topic = { placeOf: async () => ({ topic: { partition: () => undefined }, partition: 0 }) }
  const stream = new HastyStream()
  const memory = new ReadMemory({ bytesMax: 1 })
  new AttendEntry({ node, memory, topic: topic as unknown as GroupsTopic }, stream, {
    peer: 'client',
  } as CallContext)
  stream.arrive(frame({ join: { group: 'g', topics: ['t'], member: 'm', clientId: '' } }))
  const passTime = () => {
    for (const { ms, run } of [...timers]) if (ms < SIGN_OF_LIFE_MS) run()
  }
  return { stream, answer, passTime, leaves }
}

it('passes on what came before the member had joined before what came after', async () => {
  const { stream, answer } = joining()
  stream.arrive(heartbeat(1))
  stream.arrive(heartbeat(2))
  stream.wait(heartbeat(3))
  answer()
  await turns()
  expect(stream.heartbeats).toEqual([1, 2, 3])
  expect(stream.isPaused).toBe(false)
})

it('reads no more while that is more than is asked at a time', async () => {
  const { stream, answer } = joining()
  for (let number = 1; number <= 50; number++) stream.arrive(heartbeat(number))
  let unansweredMax = 0
  for (let number = 51; number <= 60; number++) stream.wait(heartbeat(number))
  const { arrive } = stream
  stream.arrive = function (next) {
    unansweredMax = Math.max(unansweredMax, 50 - this.heartbeats.length)
    arrive.call(this, next)
  }
  answer()
  await turns()
  expect(stream.heartbeats).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
  expect(unansweredMax).toBeLessThan(16)
})

it('takes a half-close for a leave, but not where the stream is cancelled right after it', async () => {
  for (const isCancelled of [false, true]) {
    const { stream, answer, passTime, leaves } = joining()
    answer()
    await turns()
    stream.halfClose()
    if (isCancelled) stream.cancel()
    passTime()
    await turns()
    expect(leaves.count).toBe(isCancelled ? 0 : 1)
  }
})

it('lets a member that says so leave at once, and once', async () => {
  const { stream, answer, passTime, leaves } = joining()
  answer()
  await turns()
  stream.arrive(frame({ leave: {} }))
  stream.halfClose()
  await turns()
  expect(leaves.count).toBe(1)
  passTime()
  await turns()
  expect(leaves.count).toBe(1)
})
