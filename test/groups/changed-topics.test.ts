import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { GroupImage } from '../../src/groups/group-image.ts'
import { subscribes } from '../../src/groups/subscription.ts'
import { GroupContext } from './group-context.ts'

const NAMES = ['logs', 'logins', 'bills', 'orders', '__inner', 'later']
const name = fc.constantFrom(...NAMES)
const names = fc.uniqueArray(name, { maxLength: 4 })
const group = fc.record({
  topics: names,
  topicPattern: fc.option(fc.constantFrom('lo*', '*s', '__*', 'none'), { nil: undefined }),
  /** Offsets of these are there whoever subscribes. */
  committed: names,
})

it('concern exactly the groups that want one, wanted one or have offsets of one', () => {
  fc.assert(
    fc.property(fc.array(group, { maxLength: 5 }), names, (groups, changed) => {
      const context = new GroupContext()
      for (const topic of NAMES) if (topic !== 'later') context.catalog.put(topic, 1)
      const nextOffsets = (committed: readonly string[]) =>
        committed.flatMap(topic => {
          const topicId = context.catalog.byName(topic)?.id
          const place = { topic, partition: 0, nextOffset: 1, leaderEpoch: null, metadata: '' }
          return topicId === undefined ? [] : [{ ...place, topicId }]
        })
      for (const [index, { topics, topicPattern, committed }] of groups.entries()) {
        const offsets = nextOffsets(committed)
        const request = { group: `g${index}`, offsets }
        if (offsets.length > 0) context.run(() => context.coordinator.offsets.commit(request, context.nowMs))
        if (topics.length > 0 || topicPattern !== undefined)
          context.attend(`g${index}`, 'm', { topics, ...(topicPattern && { topicPattern }) })
      }
      context.catalog.put('later', 1)
      const topics = changed.map(topic => context.catalog.everSeen(topic))
      const isConcerned = (image: GroupImage) =>
        topics.some(
          ({ id, name: topic }) =>
            image.topics.has(id) ||
            image.offset(id, 0) !== undefined ||
            [...image.subscriptions()].some(subscription => subscribes(subscription, topic)),
        )
      const expected = [...context.image.all()].filter(isConcerned).map(image => image.name)
      expect(context.coordinator.concernedBy(topics)).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

it('are not held one by one against each group', () => {
  const context = new GroupContext()
  for (let index = 0; index < 200; index++)
    context.attend(`g${index}`, 'm', { topics: [`t${index}`], topicPattern: 'other*' })
  let reads = 0
  const topics = Array.from({ length: 100 }, (_, index) => ({
    get id() {
      reads++
      return `id-${index}`
    },
    get name() {
      reads++
      return `new-${index}`
    },
  }))
  expect(context.coordinator.concernedBy(topics)).toEqual([])
  expect(reads).toBe(2 * topics.length)
})
