/**
 * What must hold of groups after every write (rel G1-G4), looked up in the image the slow way. The indexes of the
 * image are checked with it.
 */
import type { GroupImage } from '../../src/groups/group-image.ts'
import type { GroupRecord, MemberInstance } from '../../src/groups/group-record.ts'
import { keyOf, targetKeys } from '../../src/groups/partition-index.ts'
import { subscribes } from '../../src/groups/subscription.ts'
import type { GroupContext } from './group-context.ts'
import { short } from './sim-stream.ts'

/** `epochs`: of members, by attach epoch, as seen before; brought up to now. */
export function checkInvariants(context: GroupContext, epochs: Map<string, number>): void {
  for (const group of context.image.all()) {
    checkGroup(group)
    // What was never committed was never told, and may be used again.
    if (context.committedCount === context.log.length) checkEpochs(group, epochs)
  }
  if (context.committedCount === context.log.length) checkBeliefs(context)
}

/** G1, G2 and G4 of one group, between two writes. */
export function checkGroup(group: GroupImage): void {
  checkOwners(group)
  checkTarget(group)
  checkReconciliation(group)
}

function fail(invariant: string, what: string): never {
  throw new Error(`${invariant}: ${what}`)
}

/** G1: no partition is owned by two members. */
function checkOwners(group: GroupImage): void {
  const owners = new Map<string, string>()
  for (const [member, { partitions }] of group.assignments.entries()) {
    if (!group.members.has(member)) fail('G1', `${member} has partitions and is no member`)
    for (const partition of partitions) {
      const key = keyOf(partition)
      if (owners.has(key)) fail('G1', `${key} is owned by ${owners.get(key)} and ${member}`)
      owners.set(key, member)
    }
  }
  if (group.owners.size !== owners.size) fail('index', `${group.owners.size} owners, not ${owners.size}`)
  for (const [key, member] of owners)
    if (group.owners.get(key) !== member) fail('index', `owner of ${key} is not ${member}`)
}

/** G2: a target that is not stale covers every subscribed partition exactly once. */
function checkTarget(group: GroupImage): void {
  const { header } = group
  if (header === null) fail('G2', `${group.name} has no header`)
  const given = new Map<string, string>()
  for (const [member, target] of group.targets.entries())
    for (const key of targetKeys(target)) {
      if (given.has(key)) fail('G2', `${key} is meant for ${given.get(key)} and ${member}`)
      given.set(key, member)
    }
  if (given.size !== group.targetOwners.size) fail('index', 'targets and their index differ')
  if (header.targetEpoch < header.subscriptionEpoch || group.members.size === 0) return
  for (const [topicId, { name, partitionCount }] of group.topics.entries())
    for (let partition = 0; partition < partitionCount; partition++) {
      const member = given.get(`${topicId}/${partition}`)
      const info = member === undefined ? undefined : group.members.get(member)
      if (info === undefined) fail('G2', `${name}/${partition} is meant for nobody`)
      if (!subscribes(info.subscription, name)) fail('G2', `${member} does not want ${name}`)
    }
}

/** What is not where it should be is being revoked, what is free and meant for somebody is given; G4. */
function checkReconciliation(group: GroupImage): void {
  const { header } = group
  if (header === null || group.members.size === 0) return
  if (header.targetEpoch < header.subscriptionEpoch) {
    if (group.state === 'stable') fail('G4', 'stable with a stale target')
    return
  }
  let isSettled = true
  for (const [member, { partitions }] of group.assignments.entries())
    for (const partition of partitions) {
      const isRight = group.targetOwners.get(keyOf(partition)) === member
      if (partition.revokingEpoch !== null) isSettled = false
      else if (!isRight) fail('reconciliation', `${keyOf(partition)} stays with ${member}`)
    }
  for (const [key, member] of group.targetOwners.entries()) {
    const owner = group.owners.get(key)
    if (owner === undefined) fail('reconciliation', `${key} is free and should be ${member}'s`)
    if (owner !== member) isSettled = false
  }
  if ((group.state === 'stable') !== isSettled) fail('G4', `${group.state} while settled is ${isSettled}`)
}

/** G3: epochs only rise, and nothing is dated later than its group. */
export function checkEpochs(group: GroupImage, epochs: Map<string, number>): void {
  const groupEpoch = group.header?.groupEpoch ?? 0
  for (const [member, { memberEpoch, partitions }] of group.assignments.entries()) {
    const attachEpoch = group.members.get(member)?.attachEpoch ?? 0
    const key = `${group.name}/${member}/${attachEpoch}`
    if (memberEpoch < (epochs.get(key) ?? attachEpoch)) fail('G3', `epoch of ${member} went back`)
    epochs.set(key, memberEpoch)
    if (memberEpoch > groupEpoch) fail('G3', `${member} is at ${memberEpoch}, its group at ${groupEpoch}`)
    for (const { assignedEpoch, revokingEpoch } of partitions)
      if (assignedEpoch > memberEpoch || (revokingEpoch ?? 0) > memberEpoch)
        fail('G3', `${member} has something newer than itself`)
  }
}

/** G1 as clients see it: no two streams of present members believe to have one partition. D5: all know where to start. */
function checkBeliefs(context: GroupContext): void {
  const believers = new Map<string, string>()
  for (const stream of context.streams) {
    if (!stream.isConnected || stream.stream === undefined) continue
    const { group, member, attachEpoch } = stream.stream
    if (context.image.get(group)?.members.get(member)?.attachEpoch !== attachEpoch) continue
    for (const partition of stream.believes.values()) {
      const key = `${group}:${short(partition)}`
      if (believers.has(key)) fail('G1', `${believers.get(key)} and ${member} believe to have ${key}`)
      believers.set(key, member)
      const { topicId, partition: number } = partition
      if (context.image.get(group)?.offset(topicId, number) === undefined)
        fail('D5', `${key} was told to ${member} without a committed start`)
    }
  }
}

/** So many replaced processes of a member are kept from coming back, at least. */
const REPLACED_MIN = 4

/**
 * Of the joins under one name, as they are in a log: of those of one process the last one holds, and a process that
 * another one has replaced does not come back, as long as somebody has the name.
 */
export class Successions {
  readonly #holders = new Map<string, MemberInstance[]>()

  replay(record: GroupRecord): void {
    if (record.type !== 'member') return
    const name = `${record.member} of ${record.group}`
    const instance = record.value?.instance
    if (!instance) {
      this.#holders.delete(name)
      return
    }
    const holders = this.#holders.get(name) ?? []
    const last = holders.at(-1)
    const { id, attempt, round } = instance
    if (last?.id === id) {
      if (attempt < last.attempt || (attempt === last.attempt && round < last.round))
        fail('succession', `attempt ${attempt}.${round} of ${name} holds after ${last.attempt}.${last.round}`)
      holders.pop()
    } else if (holders.slice(-REPLACED_MIN).some(holder => holder.id === id))
      fail('succession', `${id} is ${name} again, and was replaced`)
    this.#holders.set(name, [...holders, instance])
  }
}
