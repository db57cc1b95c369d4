import type { Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import { CONTROLLER_LIMITS, type ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { CachedNode, MetadataRecord, SettingOverrides } from './metadata-record.ts'
import { elect, electable } from './partition-election.ts'
import { advanceReassignment } from './partition-reassignment.ts'
import { changePartitions, electionFacts, settingsOf } from './topic-elections.ts'
import { requireUserTopic } from './topic-errors.ts'
import type { TopicView } from './topic-image.ts'
import {
  checkSettingKey,
  checkTopicSettings,
  normalizeSetting,
  resolveTopicSettings,
} from './topic-settings.ts'

/** The handler that changes settings of topics. All changes of one topic are made, or none of them. */
export class SettingsControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
  }

  alter(request: {
    readonly changes: readonly TopicSettingsChange[]
    readonly validateOnly?: boolean
  }): MachineResult<MetadataRecord, AlterSettingsResult[]> {
    const { changes } = request
    const max = this.#options.limits?.topicsPerRequestMax ?? CONTROLLER_LIMITS.topicsPerRequestMax
    if (changes.length > max)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `${changes.length} topics in one request, at most ${max} are taken (split it)`,
      )
    const records: MetadataRecord[] = []
    const seen = new Set<string>()
    const response = changes.map((change): AlterSettingsResult => {
      const { name } = change
      try {
        if (seen.has(name))
          throw new NaruError(
            'INVALID_REQUEST',
            `topic "${name}" is named twice in this request (put its changes together)`,
          )
        const added = this.#alter(change)
        seen.add(name)
        for (const record of added) records.push(record)
        return { ok: true, name }
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        return { ok: false, name, error: thrown }
      }
    })
    return { records: request.validateOnly === true ? [] : records, response }
  }

  #alter(change: TopicSettingsChange): MetadataRecord[] {
    const topic = requireUserTopic(this.#image, change.name, change.topicId)
    const set: Record<string, string> = {}
    for (const [key, text] of Object.entries(change.set ?? {})) {
      const value = normalizeSetting(key, text)
      if (topic.settings[key] !== value) set[key] = value
    }
    const removed = new Set(change.remove ?? [])
    for (const key of removed) {
      // A setting of another release can be removed, though nothing else can be done with it here.
      if (Object.hasOwn(topic.settings, key)) continue
      checkSettingKey(key)
      removed.delete(key)
    }
    for (const key of Object.keys(change.set ?? {}))
      if (change.remove?.includes(key) === true)
        throw new NaruError('INVALID_REQUEST', `topic "${change.name}": ${key} is both set and removed`)
    if (Object.keys(set).length === 0 && removed.size === 0) return []
    const kept = Object.entries(topic.settings).filter(([key]) => !removed.has(key))
    const next = { ...Object.fromEntries(kept), ...set }
    const settings: MetadataRecord = {
      type: 'topicSettings',
      version: 0,
      topicId: topic.id,
      set,
      removed: [...removed].sort(),
      ...this.#noLongerCached(topic, next),
    }
    return [settings, ...this.#consequences(topic, next)]
  }

  /**
   * The processes of now: what they acknowledged is on their page caches until they have stopped in good order, also after
   * the topic has come to sync first (C10). Those of an earlier end that still run are among them.
   */
  #noLongerCached(topic: TopicView, overrides: SettingOverrides): { cachedNodes?: readonly CachedNode[] } {
    const { replicationFactor } = topic
    const defaults = this.#options.topicDefaults ?? {}
    const then = resolveTopicSettings(overrides, { replicationFactor, defaults })
    if (!settingsOf(topic, defaults)['write.caching'] || then['write.caching']) return {}
    const cachedNodes = this.#image.nodes.all().map(({ nodeId, nodeEpoch }) => ({ nodeId, nodeEpoch }))
    return { cachedNodes: cachedNodes.sort((a, b) => a.nodeId - b.nodeId) }
  }

  /**
   * A lower min.insync.replicas lets the high watermark of partitions move on that stood still below it, so their
   * ELR ends with the same batch of records (C10); and once unclean elections are allowed, those that wait for one
   * get a leader.
   */
  #consequences(topic: TopicView, overrides: SettingOverrides): MetadataRecord[] {
    const { replicationFactor } = topic
    const defaults = this.#options.topicDefaults ?? {}
    const settings = resolveTopicSettings(overrides, { replicationFactor, defaults })
    checkTopicSettings(settings, replicationFactor)
    const facts = electionFacts(this.#image, settings)
    const { minInsyncReplicas } = facts
    return changePartitions(topic, state => {
      const elr = electable(state.elr, { isr: state.isr, minInsyncReplicas })
      return advanceReassignment(elect({ ...state, elr }, facts), facts)
    })
  }
}

export interface TopicSettingsChange {
  readonly name: string
  readonly topicId?: Uuid
  /** Key -> value as text. */
  readonly set?: SettingOverrides
  /** Keys that follow the default again. */
  readonly remove?: readonly string[]
}

export type AlterSettingsResult =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly name: string; readonly error: NaruError }
