import { unreachable } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import type {
  CommittedOffset,
  GroupHeader,
  GroupRecord,
  MemberAssignment,
  MemberInfo,
  OwnedPartition,
  TopicPartitions,
} from '../../groups/group-record.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { codecOf } from '../../wire/codecs.ts'
import type * as wire from '../../wire/generated/group-record.ts'

/**
 * Records of groups as records of the log of `__groups`: `naru.internal.v1.GroupRecordKey` and `GroupRecordValue`.
 * Invariant: keys have equal bytes exactly for records of which the newer replaces the older: compaction and the view go by them.
 */
const keyCodec = codecOf<wire.GroupRecordKey>('naru.internal.v1.GroupRecordKey')
const valueCodec = codecOf<wire.GroupRecordValue>('naru.internal.v1.GroupRecordValue')

export interface EncodedGroupRecord {
  readonly key: Buffer
  /** null: the tombstone. */
  readonly value: Buffer | null
}

export function encodeGroupRecord(record: GroupRecord): EncodedGroupRecord {
  const value = valueToWire(record)
  return {
    key: keyCodec.encode(keyToWire(record)),
    value: value && valueCodec.encode({ version: record.version, ...value }),
  }
}

/** Of a member, without decoding the others: by far the most are offsets. */
export function isMemberKey(key: Uint8Array): boolean {
  return kindOf(key) === MEMBER_TAG
}

/** What follows the name of the group, which is the first field of every key: the tag of its kind. */
function kindOf(key: Uint8Array): number | undefined {
  let length = 0
  let at = 1
  for (let shift = 0; ; shift += 7) {
    const byte = key[at++] ?? 0
    length += (byte & 0x7f) << shift
    if (byte < 0x80) return key[at + length]
  }
}

/** Field 4, of bytes. */
const MEMBER_TAG = (4 << 3) | 2

/** Throws DATA_DIRECTORY_VERSION for a record of a later release, INVALID_REQUEST for bytes that are none. */
export function decodeGroupRecord(key: Uint8Array, value: Uint8Array | null): GroupRecord {
  const record = fromWire(keyCodec.decode(key), value && valueCodec.decode(value))
  if (record !== undefined) return record
  throw new NaruError(
    'DATA_DIRECTORY_VERSION',
    'the log of __groups holds a record that this release of Naru does not know: use the newer release that wrote it',
  )
}

function keyToWire(record: GroupRecord): MessageInit<wire.GroupRecordKey> {
  const { type, group } = record
  switch (type) {
    case 'group':
      return { group, header: {} }
    case 'topic':
      return { group, topic: { topicId: record.topicId } }
    case 'member':
      return { group, member: { member: record.member } }
    case 'target':
      return { group, target: { member: record.member } }
    case 'assignment':
      return { group, assignment: { member: record.member } }
    case 'offset':
      return { group, offset: { topicId: record.topicId, partition: record.partition } }
    default:
      return unreachable(record, 'group record')
  }
}

type WireValue = Omit<MessageInit<wire.GroupRecordValue>, 'version'>

function valueToWire(record: GroupRecord): WireValue | null {
  if (record.value === null) return null
  switch (record.type) {
    case 'group':
      return { header: { ...record.value, idleSinceMs: record.value.idleSinceMs ?? undefined } }
    case 'topic':
      return { topic: record.value }
    case 'member':
      return { member: memberToWire(record.value) }
    case 'target':
      return { target: { topics: record.value } }
    case 'assignment':
      return { assignment: assignmentToWire(record.value) }
    case 'offset':
      return { offset: { ...record.value, leaderEpoch: record.value.leaderEpoch ?? undefined } }
    default:
      return unreachable(record, 'group record')
  }
}

function memberToWire({ subscription, ...rest }: MemberInfo): MessageInit<wire.GroupMemberValue> {
  const { topics, topicPattern } = subscription
  return { ...rest, topics, topicPattern: topicPattern ?? undefined, instance: rest.instance ?? undefined }
}

/** Neighbours of one topic share its id; the order of partitions is part of the value. */
function assignmentToWire(assignment: MemberAssignment): MessageInit<wire.GroupAssignmentValue> {
  const topics: AssignmentTopic[] = []
  for (const { topicId, partition, assignedEpoch, revokingEpoch } of assignment.partitions) {
    let topic = topics.at(-1)
    if (topic?.topicId !== topicId) {
      topic = { topicId, partitions: [], assignedEpochs: [], revokingEpochs: [] }
      topics.push(topic)
    }
    topic.partitions.push(partition)
    topic.assignedEpochs.push(assignedEpoch)
    topic.revokingEpochs.push(revokingEpoch ?? NOT_REVOKING)
  }
  return { memberEpoch: assignment.memberEpoch, topics }
}

interface AssignmentTopic {
  readonly topicId: string
  readonly partitions: number[]
  readonly assignedEpochs: number[]
  readonly revokingEpochs: number[]
}

/** Epochs of groups begin at 1. */
const NOT_REVOKING = 0

/** undefined: none of the records of this release. */
function fromWire(key: wire.GroupRecordKey, value: wire.GroupRecordValue | null): GroupRecord | undefined {
  // By far the most, and so without a closure and a spread.
  if (key.offset) return offsetRecord(key.group, key.offset, value)
  // A version that replay does not know is refused there: the union only knows the present one.
  const head = { version: (value?.version ?? 0) as 0, group: key.group }
  const { topic, member, target, assignment } = key
  if (assignment)
    return valued(value, value?.assignment, of => ({
      type: 'assignment',
      ...head,
      ...assignment,
      value: of && assignmentFromWire(of),
    }))
  if (target)
    return valued(value, value?.target, of => ({
      type: 'target',
      ...head,
      ...target,
      value: of && targetFromWire(of),
    }))
  if (member)
    return valued(value, value?.member, of => ({
      type: 'member',
      ...head,
      ...member,
      value: of && memberFromWire(of),
    }))
  if (topic) return valued(value, value?.topic, of => ({ type: 'topic', ...head, ...topic, value: of }))
  if (key.header)
    return valued(value, value?.header, of => ({ type: 'group', ...head, value: of && headerFromWire(of) }))
  return undefined
}

/** Key and value are of the same kind, or the value is a tombstone. */
function valued<Value>(
  value: wire.GroupRecordValue | null,
  found: Value | undefined,
  make: (of: Value | null) => GroupRecord | undefined,
): GroupRecord | undefined {
  if (value === null) return make(null)
  return found && make(found)
}

function headerFromWire(header: wire.GroupHeaderValue): GroupHeader {
  const { assignor } = header
  if (assignor !== 'uniform' && assignor !== 'range')
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `the log of __groups names an assignor ${JSON.stringify(assignor)} that this release of Naru does not know: use the newer release that wrote it`,
    )
  return { ...header, assignor, idleSinceMs: header.idleSinceMs ?? null }
}

function memberFromWire({ topics, topicPattern, ...rest }: wire.GroupMemberValue): MemberInfo {
  return {
    ...rest,
    subscription: { topics, topicPattern: topicPattern ?? null },
    instance: rest.instance ?? null,
  }
}

function targetFromWire({ topics }: wire.GroupTargetValue): readonly TopicPartitions[] {
  return topics
}

function assignmentFromWire({ memberEpoch, topics }: wire.GroupAssignmentValue): MemberAssignment {
  const partitions: OwnedPartition[] = []
  for (const { topicId, partitions: ids, assignedEpochs, revokingEpochs } of topics)
    for (const [index, partition] of ids.entries())
      partitions.push({
        topicId,
        partition,
        assignedEpoch: assignedEpochs[index] ?? 0,
        revokingEpoch: revokingEpochs[index] || null,
      })
  return { memberEpoch, partitions }
}

function offsetRecord(
  group: string,
  { topicId, partition }: wire.GroupOffsetKey,
  value: wire.GroupRecordValue | null,
): GroupRecord | undefined {
  const version = (value?.version ?? 0) as 0
  if (value === null) return { type: 'offset', version, group, topicId, partition, value }
  const { offset } = value
  return offset && { type: 'offset', version, group, topicId, partition, value: offsetFromWire(offset) }
}

function offsetFromWire(value: wire.GroupOffsetValue): CommittedOffset {
  const { nextOffset, leaderEpoch = null, metadata, committedAtMs } = value
  return { nextOffset, leaderEpoch, metadata, committedAtMs }
}
