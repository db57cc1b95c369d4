import type { Uuid } from '../base/brands.ts'
import type { GroupImage } from './group-image.ts'
import type { Subscription } from './group-record.ts'
import { matchesPattern, subscribes } from './subscription.ts'

/**
 * Topics that were made, widened or deleted. Each of thousands of groups is asked about them in one turn, so no group is
 * held against each topic: the fewer of both are looked up among the others, and a pattern is tried once for all groups.
 */
export class ChangedTopics {
  readonly #ids: ReadonlySet<Uuid>
  readonly #names: ReadonlySet<string>
  readonly #isMatched = new Map<string, boolean>()

  constructor(topics: readonly { readonly id: Uuid; readonly name: string }[]) {
    this.#ids = new Set(topics.map(({ id }) => id))
    this.#names = new Set(topics.map(({ name }) => name))
  }

  /** A member wants one of them, or did, or the group has offsets of one. */
  concern(group: GroupImage): boolean {
    if (haveCommon(this.#ids, group.topics) || haveCommon(this.#ids, group.offsetTopics)) return true
    for (const subscription of group.subscriptions()) if (this.#areMeantBy(subscription)) return true
    return false
  }

  #areMeantBy({ topics, topicPattern }: Subscription): boolean {
    const byName = { topics, topicPattern: null }
    const isNamed =
      topics.length < this.#names.size
        ? topics.some(name => this.#names.has(name))
        : some(this.#names, name => subscribes(byName, name))
    return isNamed || (topicPattern !== null && this.#areMatchedBy(topicPattern))
  }

  #areMatchedBy(pattern: string): boolean {
    let isMatched = this.#isMatched.get(pattern)
    if (isMatched === undefined) {
      isMatched = some(this.#names, name => matchesPattern(pattern, name))
      this.#isMatched.set(pattern, isMatched)
    }
    return isMatched
  }
}

interface Keys<K> {
  readonly size: number
  has(key: K): boolean
  keys(): Iterable<K>
}

function haveCommon<K>(a: Keys<K>, b: Keys<K>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a]
  return some(few.keys(), key => many.has(key))
}

function some<T>(things: Iterable<T>, isSo: (thing: T) => boolean): boolean {
  for (const thing of things) if (isSo(thing)) return true
  return false
}
