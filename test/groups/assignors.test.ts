import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AssignorInput } from '../../src/groups/assignor.ts'
import { ASSIGNORS } from '../../src/groups/assignors.ts'
import type { TopicPartitions } from '../../src/groups/group-record.ts'
import { targetKeys } from '../../src/groups/partition-index.ts'

type Targets = Map<string, TopicPartitions[]>

/** Members with the same subscription, and some history of earlier targets. */
const equalInputs = fc
  .record({
    counts: fc.array(fc.nat(12), { minLength: 1, maxLength: 4 }),
    before: fc.uniqueArray(fc.nat(9), { maxLength: 8 }),
    now: fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 8 }),
    grown: fc.nat(3),
  })
  .map(({ counts, before, now, grown }) => {
    const names = (ids: number[]) => ids.map(id => `m${id}`).sort()
    const earlier = counts.map(count => Math.max(0, count - grown))
    const history = ASSIGNORS.uniform(inputOf(names(before), earlier, new Map()))
    return inputOf(names(now), counts, history)
  })

/** Each member subscribes to topics of its own choice. */
const mixedInputs = fc
  .record({
    counts: fc.array(fc.nat(10), { minLength: 1, maxLength: 5 }),
    wishes: fc.array(fc.uniqueArray(fc.nat(4), { maxLength: 5 }), { minLength: 1, maxLength: 7 }),
    earlier: fc.array(fc.uniqueArray(fc.nat(4), { maxLength: 5 }), { minLength: 1, maxLength: 7 }),
  })
  .map(({ counts, wishes, earlier }) => {
    const mixed = (lists: number[][], history: Targets): AssignorInput => {
      const all = inputOf(
        lists.map((_, index) => `m${index}`),
        counts,
        history,
      )
      const topicIds = [...all.partitionCounts.keys()]
      return {
        ...all,
        members: all.members.map((member, index) => ({
          ...member,
          topicIds: topicIds.filter((_, topic) => lists[index]?.includes(topic)),
        })),
      }
    }
    return mixed(wishes, ASSIGNORS.uniform(mixed(earlier, new Map())))
  })

function inputOf(members: string[], counts: number[], history: Targets): AssignorInput {
  const partitionCounts = new Map(counts.map((count, index) => [`t${index}`, count]))
  const topicIds = [...partitionCounts.keys()]
  return {
    partitionCounts,
    members: members.map(member => ({ member, topicIds, current: history.get(member) ?? [] })),
  }
}

/** Every partition that somebody subscribes to, exactly once, to a subscriber. */
function expectCovered(input: AssignorInput, targets: Targets): void {
  const wanted = [...input.partitionCounts].flatMap(([topicId, count]) =>
    input.members.some(({ topicIds }) => topicIds.includes(topicId))
      ? Array.from({ length: count }, (_, partition) => `${topicId}/${partition}`)
      : [],
  )
  const given = [...targets.values()].flatMap(targetKeys)
  expect(given.sort()).toEqual(wanted.sort())
  for (const { member, topicIds } of input.members)
    for (const { topicId } of targets.get(member) ?? []) expect(topicIds).toContain(topicId)
  for (const target of targets.values())
    for (const { partitions } of target) expect([...partitions].sort((a, b) => a - b)).toEqual(partitions)
}

function loads(input: AssignorInput, targets: Targets): number[] {
  return input.members.map(({ member }) => targetKeys(targets.get(member) ?? []).length)
}

/** How many of the partitions that members have, and may have, no assignment within 1 of balance can leave there. */
function leastMoves(input: AssignorInput): number {
  const total = [...input.partitionCounts.values()].reduce((sum, count) => sum + count, 0)
  const low = Math.floor(total / input.members.length)
  let extras = total % input.members.length
  const held = input.members.map(({ current }) => targetKeys(current).length).sort((a, b) => b - a)
  let moves = 0
  for (const count of held) {
    const keeps = Math.min(count, extras > 0 ? low + 1 : low)
    if (keeps > low) extras--
    moves += count - keeps
  }
  return moves
}

describe('uniform', () => {
  it('gives everything exactly once', () => {
    fc.assert(
      fc.property(fc.oneof(equalInputs, mixedInputs), input =>
        expectCovered(input, ASSIGNORS.uniform(input)),
      ),
      { numRuns: 500 },
    )
  })

  it('is balanced to within 1 and moves as little as that takes, among equal subscribers', () => {
    fc.assert(
      fc.property(equalInputs, input => {
        const targets = ASSIGNORS.uniform(input)
        const counts = loads(input, targets)
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
        const moved = input.members.flatMap(({ member, current }) => {
          const kept = new Set(targetKeys(targets.get(member) ?? []))
          return targetKeys(current).filter(key => !kept.has(key))
        })
        expect(moved.length).toBe(leastMoves(input))
      }),
      { numRuns: 1000 },
    )
  })

  it('leaves no move that would make it more even, among different subscribers', () => {
    fc.assert(
      fc.property(mixedInputs, input => {
        const targets = ASSIGNORS.uniform(input)
        const counts = loads(input, targets)
        input.members.forEach(({ member }, from) => {
          for (const { topicId } of targets.get(member) ?? [])
            input.members.forEach(({ topicIds }, to) => {
              if (topicIds.includes(topicId)) expect((counts[from] ?? 0) - (counts[to] ?? 0)).toBeLessThan(2)
            })
        })
      }),
      { numRuns: 500 },
    )
  })

  it('changes nothing when nothing has changed', () => {
    fc.assert(
      fc.property(fc.oneof(equalInputs, mixedInputs), input => {
        const targets = ASSIGNORS.uniform(input)
        const again = {
          ...input,
          members: input.members.map(one => ({ ...one, current: targets.get(one.member) ?? [] })),
        }
        expect(ASSIGNORS.uniform(again)).toEqual(targets)
      }),
      { numRuns: 300 },
    )
  })

  it('takes in a member where 1,000 share 100,000 partitions', () => {
    const members = Array.from({ length: 1000 }, (_, index) => `m${String(index).padStart(4, '0')}`)
    const before = ASSIGNORS.uniform(inputOf(members.slice(1), [50_000, 50_000], new Map()))
    const targets = ASSIGNORS.uniform(inputOf(members, [50_000, 50_000], before))
    expect(targets.get('m0000')?.flatMap(({ partitions }) => partitions)).toHaveLength(100)
  })
})

describe('range', () => {
  /** Partition by partition, by counting. */
  function naiveRange(input: AssignorInput): Targets {
    const targets: Targets = new Map(input.members.map(({ member }) => [member, []]))
    for (const topicId of [...input.partitionCounts.keys()].sort()) {
      const subscribers = input.members.filter(({ topicIds }) => topicIds.includes(topicId))
      const count = input.partitionCounts.get(topicId) ?? 0
      let partition = 0
      subscribers.forEach(({ member }, index) => {
        const partitions: number[] = []
        while (partition < count && partitions.length * subscribers.length + index < count)
          partitions.push(partition++)
        if (partitions.length > 0) targets.get(member)?.push({ topicId, partitions })
      })
    }
    return targets
  }

  it('gives runs in the order of names, everything exactly once', () => {
    fc.assert(
      fc.property(fc.oneof(equalInputs, mixedInputs), input => {
        const targets = ASSIGNORS.range(input)
        expectCovered(input, targets)
        expect(targets).toEqual(naiveRange(input))
      }),
      { numRuns: 500 },
    )
  })

  it('keeps equal partitions of equal topics together', () => {
    const targets = ASSIGNORS.range(inputOf(['a', 'b'], [5, 5], new Map()))
    expect(targets.get('a')).toEqual([
      { topicId: 't0', partitions: [0, 1, 2] },
      { topicId: 't1', partitions: [0, 1, 2] },
    ])
  })
})
