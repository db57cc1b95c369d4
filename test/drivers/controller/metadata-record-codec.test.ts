import { expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import {
  decodeMetadataRecord,
  encodeMetadataChange,
  encodeMetadataRecord,
} from '../../../src/drivers/controller/metadata-record-codec.ts'
import { ENTRY_BYTES_MAX } from '../../../src/drivers/raft/raft-entry-codec.ts'
import { CONTROLLER_LIMITS } from '../../../src/metadata/controller-options.ts'
import type {
  MetadataRecord,
  PartitionChangedRecord,
  PartitionState,
} from '../../../src/metadata/metadata-record.ts'

const node = { nodeId: 3, nodeEpoch: 7 }
const partition: PartitionState = {
  replicas: [3, 1],
  isr: [3],
  elr: [],
  leader: 3,
  leaderEpoch: 4,
  partitionEpoch: 9,
  lastUncleanEpoch: null,
}
const topicId = 'A'.repeat(22)

const RECORDS: MetadataRecord[] = [
  { type: 'featureLevel', version: 0, level: 1 },
  { type: 'cluster', version: 0, clusterId: 'cluster' },
  {
    type: 'nodeRegistered',
    version: 0,
    ...node,
    incarnation: 'i',
    directoryId: 'd',
    rack: '',
    clientAddress: 'a:1',
    peerAddress: 'b:2',
    release: '0.1.0',
    registeredAtMs: 1_700_000_000_000,
  },
  { type: 'nodeUnfenced', version: 0, ...node },
  { type: 'nodeFenced', version: 0, ...node },
  { type: 'nodeDraining', version: 0, ...node },
  { type: 'nodeRemoved', version: 0, ...node, directoryId: 'd' },
  { type: 'topic', version: 0, topicId, name: 'logs', settings: { 'retention.ms': '1' } },
  { type: 'topic', version: 0, topicId, name: 'logs', settings: {}, cachedNodes: [node] },
  { type: 'topicDeleted', version: 0, topicId },
  { type: 'partition', version: 0, topicId, partition: 0, ...partition },
  { type: 'partition', version: 0, topicId, partition: 1, ...partition, leader: null, lastUncleanEpoch: 0 },
  {
    type: 'partition',
    version: 0,
    topicId,
    partition: 2,
    ...partition,
    reassignment: { original: [3], target: [1], throttleBytesPerSecond: 1_000_000 },
  },
  { type: 'topicSettings', version: 0, topicId, set: {}, removed: ['retention.ms'] },
  {
    type: 'topicSettings',
    version: 0,
    topicId,
    set: {},
    removed: [],
    cachedNodes: [node, { ...node, nodeId: 9 }],
  },
  { type: 'producerIds', version: 0, nodeId: 3, nextProducerId: 2 ** 40 },
]

test('every record type comes back as it was', () => {
  for (const record of RECORDS) expect(decodeMetadataRecord(encodeMetadataRecord(record))).toEqual(record)
})

test('a partition change tells what is new from what stays, none and empty included', () => {
  const changes: Partial<PartitionChangedRecord>[] = [
    {},
    { leader: null },
    { leader: 0 },
    { isr: [] },
    { elr: [1, 2], replicas: [1, 2, 3] },
    { lastUncleanEpoch: null },
    { reassignment: null },
    { reassignment: { original: [1, 2], target: [2, 3] } },
    { lastUncleanEpoch: 0, leaderEpoch: 0 },
  ]
  for (const change of changes) {
    const record: MetadataRecord = {
      type: 'partitionChanged',
      version: 0,
      topicId,
      partition: 0,
      partitionEpoch: 10,
      ...change,
    }
    expect(decodeMetadataRecord(encodeMetadataRecord(record))).toEqual(record)
  }
})

test('a node can be fenced that is in sync in as many partitions as a cluster may have: it is one entry', () => {
  const left: MetadataRecord = {
    type: 'partitionChanged',
    version: 0,
    topicId,
    partition: 9_999,
    leader: 10_000,
    leaderEpoch: 10_000,
    isr: [10_000, 10_001],
    elr: [10_002],
    partitionEpoch: 10_000,
  }
  const count = 1000
  const bytes = encodeMetadataChange(Array.from({ length: count }, () => left)).length
  const { partitionsPerClusterMax } = CONTROLLER_LIMITS
  expect((bytes * partitionsPerClusterMax) / count).toBeLessThan(ENTRY_BYTES_MAX)
})

test('a record of a later release is refused, and never skipped', () => {
  const unknownField = Buffer.from([0x08, 0x01, 0xfa, 0x01, 0x00])
  expect(() => decodeMetadataRecord(unknownField)).toThrow(NaruError)
  expect(() => decodeMetadataRecord(unknownField)).toThrow(/newer release/)
})
