import { unreachable } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import type {
  MetadataRecord,
  PartitionChangedRecord,
  PartitionReassignment,
  PartitionRecord,
} from '../../metadata/metadata-record.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { codecOf } from '../../wire/codecs.ts'
import type * as wire from '../../wire/generated/metadata-record.ts'

/**
 * Metadata records as bytes of the metadata log: `naru.internal.v1.MetadataRecord`. What protobuf cannot tell
 * apart (an absent list and an empty one, an absent leader and none) has a message around it there.
 *
 * An entry of the log is a `MetadataChange`, a list of them. Each record is decoded on its own, so that a change of
 * very many partitions is not refused for its size by a limit that is meant for requests.
 */
const codec = codecOf<wire.MetadataRecord>('naru.internal.v1.MetadataRecord')
const changeCodec = codecOf<wire.MetadataChange>('naru.internal.v1.MetadataChange')

const CHANGE_VERSION = 0

export function encodeMetadataChange(records: readonly MetadataRecord[]): Buffer {
  return changeCodec.encode({ version: CHANGE_VERSION, records: records.map(encodeMetadataRecord) })
}

/** Throws DATA_DIRECTORY_VERSION for one of a later release, and INVALID_REQUEST for bytes that are none. */
export function decodeMetadataChange(bytes: Uint8Array): MetadataRecord[] {
  const { version, records } = changeCodec.decode(bytes)
  if (version <= CHANGE_VERSION) return records.map(decodeMetadataRecord)
  throw new NaruError(
    'DATA_DIRECTORY_VERSION',
    `the metadata log holds a change of version ${version}, which this release of Naru does not know: use the newer release that wrote it`,
  )
}

export function encodeMetadataRecord(record: MetadataRecord): Buffer {
  return codec.encode(toWire(record))
}

/** Throws CORRUPT_DATA for bytes that are no metadata record, or one that this release does not know. */
export function decodeMetadataRecord(bytes: Uint8Array): MetadataRecord {
  const message = codec.decode(bytes)
  const record = fromWire(message)
  if (record !== undefined) return record
  throw new NaruError(
    'DATA_DIRECTORY_VERSION',
    `the metadata log holds a record (version ${message.version}) that this release of Naru does not know: use the newer release that wrote it`,
  )
}

function toWire(record: MetadataRecord): MessageInit<wire.MetadataRecord> {
  const { version } = record
  switch (record.type) {
    case 'featureLevel':
      return { version, featureLevel: record }
    case 'cluster':
      return { version, cluster: record }
    case 'nodeRegistered':
      return { version, nodeRegistered: record }
    case 'nodeUnfenced':
      return { version, nodeUnfenced: record }
    case 'nodeFenced':
      return { version, nodeFenced: record }
    case 'nodeDraining':
      return { version, nodeDraining: record }
    case 'nodeRemoved':
      return { version, nodeRemoved: record }
    case 'topic':
      return { version, topic: record }
    case 'topicDeleted':
      return { version, topicDeleted: record }
    case 'partition':
      return {
        version,
        partition: {
          ...record,
          leader: record.leader ?? undefined,
          lastUncleanEpoch: record.lastUncleanEpoch ?? undefined,
          reassignment: record.reassignment && reassignmentToWire(record.reassignment),
        },
      }
    case 'partitionChanged':
      return { version, partitionChanged: partitionChangedToWire(record) }
    case 'topicSettings':
      return { version, topicSettings: record }
    case 'producerIds':
      return { version, producerIds: record }
    default:
      return unreachable(record, 'metadata record')
  }
}

/** Protobuf cannot tell an empty list from none. */
function withoutEmptyNodes<Record extends { readonly cachedNodes: readonly wire.CachedNode[] }>({
  cachedNodes,
  ...record
}: Record): Omit<Record, 'cachedNodes'> & { readonly cachedNodes?: readonly wire.CachedNode[] } {
  return cachedNodes.length === 0 ? record : { ...record, cachedNodes }
}

function partitionChangedToWire(record: PartitionChangedRecord): MessageInit<wire.PartitionChangedRecord> {
  const {
    topicId,
    partition,
    partitionEpoch,
    leaderEpoch,
    replicas,
    isr,
    elr,
    leader,
    lastUncleanEpoch,
    reassignment,
  } = record
  return {
    topicId,
    partition,
    partitionEpoch,
    leaderEpoch,
    replicas: replicas && { ids: replicas },
    isr: isr && { ids: isr },
    elr: elr && { ids: elr },
    leader: leader === undefined ? undefined : { value: leader ?? undefined },
    lastUncleanEpoch: lastUncleanEpoch === undefined ? undefined : { value: lastUncleanEpoch ?? undefined },
    reassignment:
      reassignment === undefined ? undefined : reassignment ? reassignmentToWire(reassignment) : {},
  }
}

function reassignmentToWire(reassignment: PartitionReassignment): MessageInit<wire.PartitionReassignment> {
  const { original, target, throttleBytesPerSecond } = reassignment
  return { originalReplicas: original, targetReplicas: target, throttleBytesPerSecond }
}

function reassignmentFromWire(message: wire.PartitionReassignment): PartitionReassignment {
  const { originalReplicas: original, targetReplicas: target, throttleBytesPerSecond } = message
  return { original, target, ...(throttleBytesPerSecond !== undefined && { throttleBytesPerSecond }) }
}

/** undefined: none of the records of this release. */
function fromWire(message: wire.MetadataRecord): MetadataRecord | undefined {
  // A version that replay does not know is refused there: the union only knows the present one.
  const version = message.version as 0
  const { featureLevel, cluster, nodeRegistered, nodeUnfenced, nodeFenced, nodeDraining, nodeRemoved } =
    message
  if (featureLevel) return { type: 'featureLevel', version, ...featureLevel }
  if (cluster) return { type: 'cluster', version, ...cluster }
  if (nodeRegistered) return { type: 'nodeRegistered', version, ...nodeRegistered }
  if (nodeUnfenced) return { type: 'nodeUnfenced', version, ...nodeUnfenced }
  if (nodeFenced) return { type: 'nodeFenced', version, ...nodeFenced }
  if (nodeDraining) return { type: 'nodeDraining', version, ...nodeDraining }
  if (nodeRemoved) return { type: 'nodeRemoved', version, ...nodeRemoved }
  const { topic, topicDeleted, partition, partitionChanged, topicSettings, producerIds } = message
  if (topic) return { type: 'topic', version, ...withoutEmptyNodes(topic) }
  if (topicDeleted) return { type: 'topicDeleted', version, ...topicDeleted }
  if (partition) return partitionFromWire(partition, version)
  if (partitionChanged) return partitionChangedFromWire(partitionChanged, version)
  if (topicSettings) return { type: 'topicSettings', version, ...withoutEmptyNodes(topicSettings) }
  if (producerIds) return { type: 'producerIds', version, ...producerIds }
  return undefined
}

function partitionFromWire(message: wire.PartitionRecord, version: 0): PartitionRecord {
  const { leader, lastUncleanEpoch, reassignment, ...rest } = message
  return {
    type: 'partition',
    version,
    ...rest,
    leader: leader ?? null,
    lastUncleanEpoch: lastUncleanEpoch ?? null,
    ...(reassignment && { reassignment: reassignmentFromWire(reassignment) }),
  }
}

function partitionChangedFromWire(message: wire.PartitionChangedRecord, version: 0): PartitionChangedRecord {
  const {
    topicId,
    partition,
    partitionEpoch,
    leaderEpoch,
    replicas,
    isr,
    elr,
    leader,
    lastUncleanEpoch,
    reassignment,
  } = message
  return {
    type: 'partitionChanged',
    version,
    topicId,
    partition,
    partitionEpoch,
    ...(leaderEpoch !== undefined && { leaderEpoch }),
    ...(replicas && { replicas: replicas.ids }),
    ...(isr && { isr: isr.ids }),
    ...(elr && { elr: elr.ids }),
    ...(leader && { leader: leader.value ?? null }),
    ...(lastUncleanEpoch && { lastUncleanEpoch: lastUncleanEpoch.value ?? null }),
    ...(reassignment && {
      reassignment: reassignment.targetReplicas.length > 0 ? reassignmentFromWire(reassignment) : null,
    }),
  }
}
