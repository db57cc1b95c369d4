import type { Uuid } from '../base/brands.ts'
import type { AssignorInput } from './assignor.ts'
import { ASSIGNORS } from './assignors.ts'
import type { GroupDraft } from './group-draft.ts'
import type { Subscription, TopicPartitions } from './group-record.ts'
import { type CatalogTopic, subscribedTopics, subscribes, type TopicCatalog } from './subscription.ts'

/**
 * The group's topics and who should read them: `noticeTopics` writes down what the members' subscriptions mean
 * now, `computeTarget` shares that out. Two steps, because the first must not wait (D5), and the second may.
 */

/**
 * Brings the topics of the group up to the catalog; true if anything is new, so that the target is stale.
 * `isAwaited`: the subscriptions were there before, so a topic that is new to the group was made after them, and
 * all of it is new to the group's members.
 */
export function noticeTopics(
  draft: GroupDraft,
  { catalog, isAwaited }: { catalog: TopicCatalog; isAwaited: boolean },
): boolean {
  const wanted = new Map<Uuid, CatalogTopic>()
  for (const subscription of distinctSubscriptions(draft))
    for (const topic of subscribedTopics(subscription, catalog)) wanted.set(topic.id, topic)
  let isNew = false
  for (const topicId of [...draft.topics.keys()]) {
    const topic = draft.topics.get(topicId)
    if (topic === undefined || topic.partitionCount === 0 || wanted.has(topicId)) continue
    draft.topics.set(topicId, { ...topic, partitionCount: 0 })
    isNew = true
  }
  for (const { id, name, partitionCount } of wanted.values()) {
    const before = draft.topics.get(id)
    // Partitions only become more; a node whose metadata is behind that of its predecessor knows fewer.
    if (before !== undefined && before.partitionCount >= partitionCount) continue
    const firstPartitionCount = before?.firstPartitionCount ?? (isAwaited ? 0 : partitionCount)
    draft.topics.set(id, { name, partitionCount, firstPartitionCount })
    isNew = true
  }
  return isNew
}

/** Shares the group's topics out among its members. */
export function computeTarget(draft: GroupDraft): void {
  const input = assignorInput(draft)
  const targets = ASSIGNORS[draft.header.assignor](input)
  for (const { member, current } of input.members) {
    const target = targets.get(member) ?? []
    if (!isSameTarget(target, current)) draft.setTarget(member, target)
  }
  draft.setHeader({ groupEpoch: draft.epoch, targetEpoch: draft.epoch, targetAtMs: draft.nowMs })
}

function assignorInput(draft: GroupDraft): AssignorInput {
  const topics = [...draft.topics.keys()].sort().flatMap(topicId => {
    const topic = draft.topics.get(topicId)
    return topic === undefined || topic.partitionCount === 0 ? [] : [{ topicId, ...topic }]
  })
  const topicIdsOf = new Map<Subscription, readonly Uuid[]>()
  // Different subscriptions that come to the same topics are one to the assignor.
  const interned = new Map<string, readonly Uuid[]>()
  for (const subscription of distinctSubscriptions(draft)) {
    const topicIds = topics.filter(({ name }) => subscribes(subscription, name)).map(({ topicId }) => topicId)
    const key = topicIds.join()
    const same = interned.get(key) ?? topicIds
    interned.set(key, same)
    topicIdsOf.set(subscription, same)
  }
  return {
    members: draft.memberNames().map(member => {
      const subscription = draft.members.get(member)?.subscription
      const topicIds = (subscription && topicIdsOf.get(subscription)) ?? []
      return { member, topicIds, current: draft.target(member) }
    }),
    partitionCounts: new Map(topics.map(({ topicId, partitionCount }) => [topicId, partitionCount])),
  }
}

/** The image holds equal subscriptions as one object. */
function distinctSubscriptions(draft: GroupDraft): Set<Subscription> {
  const distinct = new Set<Subscription>()
  for (const member of draft.members.keys()) {
    const info = draft.members.get(member)
    if (info !== undefined) distinct.add(info.subscription)
  }
  return distinct
}

function isSameTarget(a: readonly TopicPartitions[], b: readonly TopicPartitions[]): boolean {
  return (
    a.length === b.length &&
    a.every((topic, index) => {
      const other = b[index] as TopicPartitions
      return (
        topic.topicId === other.topicId &&
        topic.partitions.length === other.partitions.length &&
        topic.partitions.every((partition, at) => partition === other.partitions[at])
      )
    })
  )
}
