import { expect, it } from 'vitest'
import type { NaruError } from '../../../src/base/errors.ts'
import type { MemberWatch, PartitionCoordinator } from '../../../src/drivers/groups/coordination.ts'
import type { MembershipChanges } from '../../../src/groups/membership-feed.ts'
import type { AttendOutlet } from '../../../src/service/groups/attend-backend.ts'
import { AttendSession } from '../../../src/service/groups/attend-session.ts'
import { ReadMemory } from '../../../src/service/read-memory.ts'
import type { ServiceNode } from '../../../src/service/service-node.ts'
import { Groups } from '../../../src/wire/methods.ts'

/** A client that takes so many frames and then no more, until it reads again. */
class SlowOutlet implements AttendOutlet {
  readonly frames: Buffer[] = []
  failure: NaruError | undefined
  room: number
  pauses = 0
  resumes = 0

  constructor(room: number) {
    this.room = room
  }

  write(message: Uint8Array): boolean {
    this.frames.push(Buffer.from(message))
    return --this.room > 0
  }

  end(): void {}

  fail(error: NaruError): void {
    this.failure = error
  }

  pause(): void {
    this.pauses++
  }

  resume(): void {
    this.resumes++
  }
}

const ATTENDED = {
  stream: { group: 'g', member: 'm', attachEpoch: 1 },
  memberEpoch: 1,
  sessionTimeoutMs: 1_000,
  warnings: [],
}
/** Whose changes are committed as the test says. */
const MEMBERS = {
  attend: () => ({ response: ATTENDED }),
  heartbeat: () => ({ response: ATTENDED }),
  disconnect: () => ({ response: undefined }),
  release: (_: unknown, { partitions }: { partitions: unknown[] }) => ({
    response: partitions.map(() => ({})),
  }),
}

async function attending(outlet: SlowOutlet) {
  let settle: (() => void) | undefined
  let closed = 0
  const released: number[][] = []
  const watch: MemberWatch = {
    released: partitions => released.push(partitions.map(({ partition }) => partition)),
    close: () => closed++,
  }
  let isHeld = false
  const coordinator = {
    partition: 0,
    leaderEpoch: 1,
    run: async (handler: (groups: unknown, nowMs: number) => { response: unknown }) => {
      const { response } = handler({ settings: {}, members: MEMBERS }, 0)
      if (isHeld) await new Promise<void>(resolve => (settle = resolve))
      return response
    },
    watch: () => watch,
    isWatched: () => true,
  } as unknown as PartitionCoordinator
  const join = { group: 'g', topics: ['t'], clientId: '' }
  const node = {} as ServiceNode
  const session = new AttendSession(node, new ReadMemory(), {
    outlet,
    coordinator,
    join,
    member: 'm',
    address: 'a',
    instance: { id: 'i', attempt: 1, round: 0 },
  })
  await session.joined
  return {
    session,
    closed: () => closed,
    /** Each time that the watch was told: the partitions. */
    released,
    hold: () => {
      isHeld = true
    },
    release: () => {
      isHeld = false
      settle?.()
    },
  }
}

function assigned(partitions: readonly number[]): MembershipChanges {
  const none = { lost: [], revoking: [], unresolved: [], toRelease: [] }
  return {
    ...none,
    memberEpoch: 2,
    assigned: partitions.map(partition => ({
      topic: 'topic-of-some-length',
      topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
      partition,
      assignedEpoch: 2,
      revokingEpoch: null,
      nextOffset: 1,
    })),
  }
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index)
const numbers = (outlet: SlowOutlet) =>
  outlet.frames.map(frame => Groups.attend.response.decode(frame).assigned?.partitions[0]?.partition)

it('tells a client that reads late everything, in order', async () => {
  const outlet = new SlowOutlet(2)
  const { session } = await attending(outlet)
  for (const partition of range(10)) session.onChanges(assigned([partition]))
  expect(numbers(outlet)).toEqual([undefined, 0])
  outlet.room = 3
  session.drained()
  expect(numbers(outlet)).toEqual([undefined, 0, 1, 2, 3])
  outlet.room = 100
  session.drained()
  session.onChanges(assigned([10]))
  expect(numbers(outlet)).toEqual([undefined, ...range(11)])
})

it('ends the stream of a client that does not read, before much waits for it', async () => {
  const outlet = new SlowOutlet(1)
  const { session, closed } = await attending(outlet)
  let told = 0
  while (outlet.failure === undefined && told < 1_000) {
    session.onChanges(assigned(range(5_000)))
    told++
  }
  expect(outlet.failure?.reason).toBe('READER_TOO_SLOW')
  expect(closed()).toBe(1)
  expect(outlet.frames).toHaveLength(1)
  const bytes = Groups.attend.response.encode({
    assigned: {
      memberEpoch: 2,
      partitions: assigned(range(5_000)).assigned.map(one => ({ ...one, nextOffset: 1 })),
    },
  }).length
  expect(told * bytes).toBeLessThan(6 * 1024 * 1024)
})

it('splits what would be too much for one frame', async () => {
  const outlet = new SlowOutlet(100)
  const { session } = await attending(outlet)
  session.onChanges(assigned(range(12_000)))
  expect(outlet.frames).toHaveLength(4)
  for (const frame of outlet.frames) expect(frame.length).toBeLessThan(1024 * 1024)
})

it('keeps in mind what its member is given anew by the very change in which it gave it up', async () => {
  const outlet = new SlowOutlet(100)
  const { session, hold, release, released } = await attending(outlet)
  const [before] = assigned([7]).assigned
  session.onChanges(assigned([7]))
  const giveUp = {
    release: { memberEpoch: 2, partitions: [{ topic: 'topic-of-some-length', partition: 7 }] },
  }
  hold()
  session.send(Buffer.from(Groups.attend.request.encode(giveUp)))
  await expect.poll(() => released).toEqual([[7]])
  // The commit tells the stream first; then the one who asked has its answer.
  session.onChanges({ ...assigned([7]), memberEpoch: 3, lost: before ? [before] : [] })
  release()
  session.send(Buffer.from(Groups.attend.request.encode(giveUp)))
  await expect.poll(() => released).toEqual([[7], [7]])
})

it('reads no more from a client that asks faster than the log commits', async () => {
  const outlet = new SlowOutlet(1_000)
  const { session, hold, release } = await attending(outlet)
  hold()
  for (const number of range(20))
    session.send(Buffer.from(Groups.attend.request.encode({ heartbeat: { number } })))
  expect(outlet.pauses).toBe(1)
  expect(outlet.resumes).toBe(0)
  await new Promise(resolve => setImmediate(resolve))
  release()
  await expect.poll(() => outlet.frames.length).toBe(21)
  expect(outlet.resumes).toBe(1)
})
