import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, PartitionState } from './metadata-record.ts'
import { requireKnownNode } from './node-registration.ts'
import { electable } from './partition-election.ts'
import { settledFactor } from './partition-reassignment.ts'
import { allPartitions, Placement } from './placement.ts'
import { changePartitions, settingsOf } from './topic-elections.ts'
import type { TopicView } from './topic-image.ts'
import { resolveTopicSettings } from './topic-settings.ts'

/** Named in a refusal; the rest is counted. */
const PARTITIONS_NAMED_MAX = 10

/**
 * Takes a node out of the cluster for good (`naru cluster remove`). It must have stopped, and hold no replicas, unless
 * `force`: then its replicas are placed anew where there is another node, else dropped; but only if every partition
 * has another replica in sync. What it acknowledged and nobody else is known to have is never given up here.
 * Invariant: a removed node is in no list of replicas.
 */
export function removeNode(
  image: MetadataImage,
  options: ControllerOptions,
  request: { readonly nodeId: NodeId; readonly force: boolean; readonly isSessionAlive: boolean },
): MachineResult<MetadataRecord, undefined> {
  const { nodeId, force, isSessionAlive } = request
  const { nodeEpoch, directoryId, isFenced } = requireKnownNode(image, nodeId)
  if (isSessionAlive || !isFenced)
    throw notRemovable(nodeId, `is running (naru cluster drain ${nodeId}, then stop its process)`)
  const topics = [...image.topics.all()]
    .filter(topic => [...topic.partitions()].some(([, state]) => state.replicas.includes(nodeId)))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const isHeld = (state: PartitionState) => state.replicas.includes(nodeId)
  const isLast = (state: PartitionState) => isHeld(state) && state.isr.length === 0
  if (!force && topics.length > 0)
    throw notRemovable(
      nodeId,
      `holds replicas of ${namesOf(topics, isHeld)} (move them away: naru cluster rebalance --evacuate ${nodeId}; or use --force: they are placed anew where possible)`,
    )
  if (topics.some(topic => [...topic.partitions()].some(([, state]) => isLast(state))))
    throw notRemovable(
      nodeId,
      `may be the only one to hold all records of ${namesOf(topics, isLast)}: no other replica is in sync (start the node, or its peers; or give these up: naru topics recover, or delete)`,
    )
  const others = image.nodes.all().filter(node => node.nodeId !== nodeId)
  const placement = new Placement(others, allPartitions(image.topics.all()))
  const changes = topics.flatMap(topic => takeOff(topic, { nodeId, placement, options }))
  const removed: MetadataRecord = { type: 'nodeRemoved', version: 0, nodeId, nodeEpoch, directoryId }
  return { records: [...changes, removed], response: undefined }
}

function takeOff(
  topic: TopicView,
  by: { nodeId: NodeId; placement: Placement; options: ControllerOptions },
): MetadataRecord[] {
  const { nodeId, placement, options } = by
  const then = new Map<PartitionState, PartitionState>()
  for (const [, state] of topic.partitions())
    if (state.replicas.includes(nodeId)) then.set(state, without(state, nodeId, placement))
  const states = [...topic.partitions()].map(([, state]) => then.get(state) ?? state)
  const replicationFactor = Math.min(...states.map(settledFactor))
  const defaults = options.topicDefaults ?? {}
  const before = settingsOf(topic, defaults)['min.insync.replicas']
  const after = resolveTopicSettings(topic.settings, { replicationFactor, defaults })['min.insync.replicas']
  const changes = changePartitions(topic, state => {
    const next = then.get(state) ?? state
    return { ...next, elr: electable(next.elr, { isr: state.isr, minInsyncReplicas: before }) }
  })
  if (after >= before) return changes
  // The default follows the number of replicas. What the topic promised stays, until somebody says otherwise.
  const set = { 'min.insync.replicas': String(before) }
  return [{ type: 'topicSettings', version: 0, topicId: topic.id, set, removed: [] }, ...changes]
}

/** The partition with another replica, if there is a node for it, instead of this one. */
function without(state: PartitionState, nodeId: NodeId, placement: Placement): PartitionState {
  const isOther = (other: NodeId) => other !== nodeId
  const elr = state.elr.filter(isOther)
  const { reassignment, ...rest } = state
  const others = state.replicas.filter(isOther)
  const original = reassignment?.original.filter(isOther) ?? []
  const target = reassignment?.target.filter(isOther) ?? []
  // A move goes on with what is left of it; one that has nothing left on either side ends where it is.
  if (reassignment !== undefined && original.length > 0 && target.length > 0)
    return { ...rest, replicas: others, elr, reassignment: { ...reassignment, original, target } }
  const another = placement.placeAnother(others)
  return { ...rest, replicas: another === undefined ? others : [...others, another], elr }
}

function namesOf(topics: readonly TopicView[], isMeant: (state: PartitionState) => boolean): string {
  const names = topics.flatMap(topic =>
    [...topic.partitions()]
      .filter(([, state]) => isMeant(state))
      .map(([partition]) => `${topic.name}-${partition}`),
  )
  const more = names.length - PARTITIONS_NAMED_MAX
  return `${names.slice(0, PARTITIONS_NAMED_MAX).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function notRemovable(nodeId: NodeId, why: string): NaruError {
  return new NaruError('NODE_NOT_REMOVABLE', `node ${nodeId} cannot be removed: it ${why}`, {
    details: { node_id: String(nodeId) },
  })
}
