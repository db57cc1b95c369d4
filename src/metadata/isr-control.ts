import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, PartitionChangedRecord, PartitionState } from './metadata-record.ts'
import type { NodeRef } from './node-control.ts'
import { isActive } from './node-image.ts'
import { requireNode } from './node-registration.ts'
import { changeRecord, type ElectionFacts, electable, removeFromIsr } from './partition-election.ts'
import { advanceReassignment } from './partition-reassignment.ts'
import { electionFacts, settingsOf } from './topic-elections.ts'

/** Of one request of a node: one entry of the metadata log. */
const CHANGES_MAX = 1000

/**
 * Handlers for what nodes say of the partitions that they hold: leaders change the ISR, nodes report damaged replicas.
 *
 * A change of the ISR is compare-and-set (KIP-497, and KIP-841 and KIP-903 for who may enter): it is accepted only if
 * its sender leads under its node epoch, leader epoch and partition epoch are those of the newest state, and whoever
 * enters is unfenced, not draining, and registered under the node epoch that the leader heard it with. A process that
 * has restarted since is another one, and may have lost what it acknowledged.
 */
export class IsrControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
  }

  /**
   * One answer for each change, in order. `contact` tells who is cut off from whom, for leaders that are (C8): the
   * response names the partitions for which another leader was elected instead.
   */
  alter(
    node: NodeRef,
    changes: readonly IsrChange[],
    contact: NodeContact = NO_CONTACT,
  ): MachineResult<MetadataRecord, { answers: IsrChangeAnswer[]; elected: PartitionRef[] }> {
    requireNode(this.#image, node)
    checkCount(changes.length)
    const records = new Map<string, PartitionChangedRecord>()
    const elected: PartitionRef[] = []
    const answers = changes.map((change): IsrChangeAnswer => {
      const { topicId, partition } = change
      const topic = this.#image.topics.byId(topicId)
      const before = topic?.partition(partition)
      if (topic === undefined || before === undefined)
        return {
          kind: 'refused',
          partitionEpoch: undefined,
          problem: 'the partition does not exist any more',
        }
      const refused = (problem: string, partitionEpoch = before.partitionEpoch) =>
        ({ kind: 'refused', partitionEpoch, problem }) as const
      const key = `${topicId} ${partition}`
      if (records.has(key)) return refused('it was changed just now', before.partitionEpoch + 1)
      const problem = this.#problemOf(node, before, change)
      if (problem !== undefined) return refused(problem)
      const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
      const successor = successorOfCutOff(before, { change, facts, contact })
      if (successor === undefined) {
        records.set(
          key,
          record(change, { before, after: advanceReassignment(changeIsr(before, change, facts), facts) }),
        )
        return { kind: 'accepted' }
      }
      if (!contact.mayElect(change))
        return refused('the others in sync reach each other, and one of them was elected just now')
      records.set(key, record(change, { before, after: { ...before, leader: successor } }))
      elected.push({ topicId, partition })
      return refused(
        `the others in sync reach each other: node ${successor} leads from now on`,
        before.partitionEpoch + 1,
      )
    })
    return { records: [...records.values()], response: { answers, elected } }
  }

  /**
   * Replicas of this node are quarantined (B4): they leave ISR and ELR, and another one leads if one may. The last one
   * leaves, too: then the partition is offline with its bytes untouched until `naru topics recover`.
   */
  reportDamage(node: NodeRef, replicas: readonly PartitionRef[]): MachineResult<MetadataRecord, undefined> {
    const { nodeId } = requireNode(this.#image, node)
    checkCount(replicas.length)
    const isRemoved = (other: NodeId) => other === nodeId
    const records = new Map<string, PartitionChangedRecord>()
    for (const { topicId, partition } of replicas) {
      const topic = this.#image.topics.byId(topicId)
      const before = topic?.partition(partition)
      // What is gone, or has no part in it any more, needs nothing.
      if (topic === undefined || before === undefined) continue
      if (!before.isr.includes(nodeId) && !before.elr.includes(nodeId)) continue
      const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
      // An unclean election would end with the damaged replica's own node, where that is the last.
      const factsThen = { ...facts, isActive: (other: NodeId) => other !== nodeId && facts.isActive(other) }
      const removed = removeFromIsr(before, { isRemoved, keepsRecords: false }, factsThen)
      const after = advanceReassignment(removed, factsThen)
      const change = changeRecord({ topicId, partition }, { before, after })
      if (change !== undefined) records.set(`${topicId} ${partition}`, change)
    }
    return { records: [...records.values()], response: undefined }
  }

  /** Why a change cannot be made; undefined: it can. */
  #problemOf(sender: NodeRef, before: PartitionState, change: IsrChange): string | undefined {
    const { leader, leaderEpoch, partitionEpoch, replicas } = before
    if (leader !== sender.nodeId) return `node ${leader ?? 'nobody'} leads`
    if (change.leaderEpoch !== leaderEpoch) return `the leader epoch is ${leaderEpoch}`
    if (change.partitionEpoch !== partitionEpoch) return `the partition epoch is ${partitionEpoch}`
    const members = change.isr.map(member => member.nodeId)
    if (!members.includes(sender.nodeId)) return 'the leader must be in the ISR'
    if (new Set(members).size !== members.length) return `the ISR ${members} names a node twice`
    const stranger = members.find(nodeId => !replicas.includes(nodeId))
    if (stranger !== undefined) return `node ${stranger} is no replica`
    const isSame = members.length === before.isr.length && members.every(id => before.isr.includes(id))
    if (isSame && change.successorId === undefined) return 'it changes nothing'
    if (change.successorId !== undefined && !this.#maySucceed(sender, change))
      return `node ${change.successorId} cannot take over`
    for (const member of change.isr) {
      const problem = this.#problemOfMember(member, before.isr.includes(member.nodeId))
      if (problem !== undefined) return problem
    }
    return undefined
  }

  #maySucceed(sender: NodeRef, { successorId, isr }: IsrChange): boolean {
    const isMember = isr.some(({ nodeId }) => nodeId === successorId)
    return isMember && successorId !== sender.nodeId && isActive(this.#image.nodes.get(successorId as NodeId))
  }

  /** A member that stays is in the ISR as the process that is registered now: a registration takes its node out. */
  #problemOfMember({ nodeId, nodeEpoch }: IsrMember, isMember: boolean): string | undefined {
    const node = this.#image.nodes.get(nodeId)
    if (nodeEpoch !== undefined ? node?.nodeEpoch !== nodeEpoch : !isMember)
      return `node ${nodeId} is registered with epoch ${node?.nodeEpoch}`
    if (!isMember && !isActive(node)) return `node ${nodeId} is ${node?.isFenced ? 'fenced' : 'draining'}`
    return undefined
  }
}

export interface PartitionRef {
  readonly topicId: Uuid
  readonly partition: PartitionId
}

/** A leader's wish for another ISR, and the state that it starts from. */
export interface IsrChange extends PartitionRef {
  readonly leaderEpoch: Epoch
  readonly partitionEpoch: Epoch
  readonly isr: readonly IsrMember[]
  /** Of those that leave: they have lost what they acknowledged, and are not electable. */
  readonly damaged?: readonly NodeId[] | undefined
  /**
   * The leader hands over to this member (C11): a drain, or the return to the preferred leader. It has stopped appending
   * and all that it has is committed, so nothing is lost or refused by it. The ISR may stay as it is.
   */
  readonly successorId?: NodeId | undefined
}

export interface IsrMember {
  readonly nodeId: NodeId
  /** Of the process that acknowledged. Only a member that stays may go without. */
  readonly nodeEpoch?: Epoch | undefined
}

export type IsrChangeAnswer =
  /** The metadata show it. */
  | { readonly kind: 'accepted' }
  /** `partitionEpoch`: the partition's when this answer leaves; undefined: there is no such partition. */
  | { readonly kind: 'refused'; readonly partitionEpoch: Epoch | undefined; readonly problem: string }

/** What nodes say of each other, for C8. */
export interface NodeContact {
  /** Each of the two says that it reaches the other. Where nothing is known: no. */
  readonly isInContact: (a: NodeId, b: NodeId) => boolean
  /** The partition got no other leader so just now. */
  readonly mayElect: (of: PartitionRef) => boolean
}

const NO_CONTACT: NodeContact = { isInContact: () => false, mayElect: () => false }

/** The state with the new ISR. Who leaves with all that is committed stays electable below the minimum (C10). */
function changeIsr(before: PartitionState, change: IsrChange, facts: ElectionFacts): PartitionState {
  const isr = change.isr.map(member => member.nodeId)
  const isDamaged = (nodeId: NodeId) => change.damaged?.includes(nodeId) ?? false
  const left = before.isr.filter(nodeId => !isr.includes(nodeId))
  const elr = [...before.elr, ...left].filter(nodeId => !isr.includes(nodeId) && !isDamaged(nodeId))
  const { minInsyncReplicas } = facts
  const leader = change.successorId ?? before.leader
  return { ...before, isr, elr: electable(elr, { isr, minInsyncReplicas }), leader }
}

/**
 * For a leader that would shrink the ISR below its minimum while enough of the others reach each other: it is the leader
 * that is cut off, and one of them serves what it could not (C8). Undefined: there are not enough of them.
 */
function successorOfCutOff(
  before: PartitionState,
  by: { change: IsrChange; facts: ElectionFacts; contact: NodeContact },
): NodeId | undefined {
  const { change, facts, contact } = by
  const { minInsyncReplicas } = facts
  const { isr } = change
  if (isr.length >= minInsyncReplicas || isr.length >= before.isr.length) return undefined
  const others = before.replicas.filter(
    nodeId => nodeId !== before.leader && before.isr.includes(nodeId) && !change.damaged?.includes(nodeId),
  )
  return others.find(nodeId => {
    if (!facts.isActive(nodeId)) return false
    const reached = others.filter(other => other === nodeId || contact.isInContact(nodeId, other))
    return reached.length >= minInsyncReplicas
  })
}

function record(
  of: PartitionRef,
  change: { before: PartitionState; after: PartitionState },
): PartitionChangedRecord {
  const changed = changeRecord({ topicId: of.topicId, partition: of.partition }, change)
  assert(changed !== undefined, 'a change of the ISR changes something')
  return changed
}

function checkCount(count: number): void {
  if (count > CHANGES_MAX)
    throw new NaruError(
      'REQUEST_TOO_LARGE',
      `${count} partitions in one request of a node, at most ${CHANGES_MAX} are taken (split it)`,
    )
}
