import type { Uuid } from '../base/brands.ts'
import type { Subscription } from './group-record.ts'

/** The topics of the cluster as the coordinator's node knows them: `MetadataImage.topics` has this form. */
export interface TopicCatalog {
  byName(name: string): CatalogTopic | undefined
  byId(topicId: Uuid): CatalogTopic | undefined
  all(): Iterable<CatalogTopic>
}

export interface CatalogTopic {
  readonly id: Uuid
  readonly name: string
  readonly partitionCount: number
}

export function subscriptionOf(wanted: {
  readonly topics: readonly string[]
  readonly topicPattern?: string | null | undefined
}): Subscription {
  return { topics: [...new Set(wanted.topics)].sort(), topicPattern: wanted.topicPattern ?? null }
}

/** Equal for subscriptions to the same topics. Names of topics hold neither of the separators. */
export function subscriptionKey({ topics, topicPattern }: Subscription): string {
  return `${topics.join(',')}\n${topicPattern ?? ''}`
}

export function subscribes(subscription: Subscription, topicName: string): boolean {
  const { topics, topicPattern } = subscription
  return hasName(topics, topicName) || (topicPattern !== null && matchesPattern(topicPattern, topicName))
}

/** The topics of the catalog that a subscription means; those that do not exist yet are left out. */
export function* subscribedTopics(subscription: Subscription, catalog: TopicCatalog): Iterable<CatalogTopic> {
  for (const name of subscription.topics) {
    const topic = catalog.byName(name)
    if (topic !== undefined) yield topic
  }
  const { topicPattern } = subscription
  if (topicPattern === null) return
  for (const topic of catalog.all()) if (matchesPattern(topicPattern, topic.name)) yield topic
}

/**
 * Whether the whole name matches. Takes at most pattern x name steps: only the last `*` is ever tried again.
 * Internal topics, whose names begin with `__`, match only a pattern that begins so too.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  if (name.startsWith(INTERNAL_PREFIX) && !pattern.startsWith(INTERNAL_PREFIX)) return false
  let at = 0
  let star = -1
  let starredTo = 0
  for (let index = 0; index < name.length; ) {
    if (pattern[at] === '*') {
      star = at++
      starredTo = index
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[index])) {
      at++
      index++
    } else if (star >= 0) {
      at = star + 1
      index = ++starredTo
    } else {
      return false
    }
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}

const INTERNAL_PREFIX = '__'

function hasName(sorted: readonly string[], name: string): boolean {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as string) < name) low = middle + 1
    else high = middle
  }
  return sorted[low] === name
}
