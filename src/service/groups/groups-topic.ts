import type { PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { unknownGroup } from '../../groups/group-errors.ts'
import { GROUPS_TOPIC } from '../../metadata/internal-topics.ts'
import type { TopicView } from '../../metadata/topic-image.ts'
import { failureToError } from '../../wire/failure.ts'
import { Admin } from '../../wire/methods.ts'
import type { ServiceNode } from '../service-node.ts'
import { settledWithin } from '../settled-within.ts'

/** A creation goes on for those who ask again, longer than each of them may wait. */
const CREATION_TIMEOUT_MS = 30_000

/** The partition of `__groups` whose leader coordinates a group. */
export interface GroupPlace {
  readonly topic: TopicView
  readonly partition: PartitionId
}

/** The internal topic that holds the groups: made by the first call that needs it, by one creation at a time. */
export class GroupsTopic {
  readonly #node: ServiceNode
  #creation: Promise<void> | undefined

  constructor(node: ServiceNode) {
    this.#node = node
  }

  /** undefined: there is none, and so no group. */
  get view(): TopicView | undefined {
    return this.#node.controller.image.topics.byName(GROUPS_TOPIC)
  }

  /** undefined: there is no group, anywhere. */
  async confirmed(): Promise<TopicView | undefined> {
    if (this.view === undefined) await this.#node.freshMetadata.confirm('whether there are groups')
    return this.view
  }

  /** Where the group is, or would be. With `creates` it may be the first one; else UNKNOWN_GROUP. */
  async placeOf(group: string, of: { creates: boolean; timeoutMs: number }): Promise<GroupPlace> {
    const { groups } = this.#node
    if (groups.partitionOf(group) === undefined && of.creates) await this.#create(of.timeoutMs)
    const topic = await this.confirmed()
    const partition = groups.partitionOf(group)
    if (topic !== undefined && partition !== undefined) return { topic, partition }
    throw unknownGroup(group)
  }

  async #create(timeoutMs: number): Promise<void> {
    this.#creation ??= this.#createOnce().finally(() => {
      this.#creation = undefined
    })
    const creation = this.#creation
    if (await settledWithin(this.#node.clock, creation, timeoutMs)) return creation
    throw notMade(`its creation took longer than ${Math.round(timeoutMs)} ms`)
  }

  async #createOnce(): Promise<void> {
    const { results } = await this.#node.controllerCalls
      .call(
        Admin.createTopics,
        { topics: [{ topic: GROUPS_TOPIC }], timeoutMs: CREATION_TIMEOUT_MS },
        { timeoutMs: CREATION_TIMEOUT_MS, repeatable: true },
      )
      .catch((thrown: unknown) => {
        throw notMade(NaruError.from(thrown).message, thrown)
      })
    const failure = results[0]?.failure
    if (failure === undefined || failure.reason === 'TOPIC_ALREADY_EXISTS') return
    throw notMade(failureToError(failure).message)
  }
}

/** Whatever became of it, nothing was done for any group. */
function notMade(because: string, cause?: unknown): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `the topic ${GROUPS_TOPIC}, which holds all consumer groups, did not exist and is not there yet: ${because} (try again)`,
    { cause, details: { topic: GROUPS_TOPIC } },
  )
}
