import { expect, test } from 'vitest'
import { MemberWatches } from '../../../src/drivers/groups/member-watches.ts'
import type { Membership } from '../../../src/groups/member-control.ts'
import type { MembershipChanges } from '../../../src/groups/membership-feed.ts'
import type { Outcome } from '../../../src/machine/machine-runtime.ts'

const STREAM = { group: 'g', member: 'm', attachEpoch: 1 }

test('what was read before a release and is known after it is not told: the member would have it again (G1)', () => {
  const { watches, answer, told } = started()
  const watch = watches.add(STREAM, told.listener)
  watches.flush()
  answer(membership(1, { 0: null, 1: null }))
  watches.mark([STREAM])
  watches.flush()
  answer(membership(2, { 0: null, 1: 2 }))
  watches.mark([STREAM])
  watches.flush()
  watch.released([{ topicId: 'logs', partition: 1 }])
  answer(membership(2, { 0: null, 1: 2 }))
  watches.flush()
  answer(membership(3, { 0: null }))
  expect(told.all).toEqual([
    { assigned: [0, 1], revoking: [], lost: [] },
    { assigned: [], revoking: [1], lost: [] },
  ])
})

function started() {
  const waiting: ((outcome: Outcome<Membership>) => void)[] = []
  const watches = new MemberWatches((_, onDone) => {
    waiting.push(onDone as (typeof waiting)[number])
  })
  const answer = (response: Membership) => waiting.shift()?.({ ok: true, response })
  const all: { assigned: number[]; revoking: number[]; lost: number[] }[] = []
  const numbers = (partitions: MembershipChanges['assigned']) => partitions.map(({ partition }) => partition)
  const listener = {
    onChanges: ({ assigned, revoking, lost }: MembershipChanges) =>
      void all.push({ assigned: numbers(assigned), revoking: numbers(revoking), lost: numbers(lost) }),
    resolveStarts: () => {},
    onEnd: () => {},
  }
  return { watches, answer, told: { all, listener } }
}

/** Partition -> the epoch at which it was asked back. */
function membership(memberEpoch: number, partitions: Record<number, number | null>): Membership {
  return {
    memberEpoch,
    partitions: Object.entries(partitions).map(([partition, revokingEpoch]) => ({
      topicId: 'logs',
      topic: 'logs',
      partition: Number(partition),
      assignedEpoch: 1,
      revokingEpoch,
      nextOffset: 0,
    })),
  } as Membership
}
