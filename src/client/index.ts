/** What a program that uses Naru imports, beside `connect` (src/server/client.ts). */
export { ERROR_CODES, type ErrorReason, NaruError } from '../base/errors.ts'
export type { Compression } from '../records/codecs.ts'
export type {
  MovesAdmin,
  PartitionPlace,
  PlannedMove,
  ReassignmentProgress,
  RebalanceOptions,
  Recovery,
  ReplicaAssignment,
  ReplicaReport,
} from './admin/moves-types.ts'
export type {
  Admin,
  ClusterDescription,
  ClusterNode,
  CreatedTopic,
  CreateTopicsOptions,
  DeletedRecords,
  ListedOffset,
  ListTopicsOptions,
  NewTopic,
  OffsetPosition,
  PartitionDescription,
  QuorumDescription,
  QuorumMember,
  TopicDescription,
  TopicListing,
  TopicSetting,
} from './admin/types.ts'
export type {
  AssignedPartition,
  CloseOptions,
  Consumer,
  ConsumerOptions,
  ConsumerPartition,
  OffsetToCommit,
  TopicPartition,
} from './consumer/types.ts'
export type {
  GroupDescription,
  GroupList,
  GroupListing,
  GroupMember,
  GroupOffset,
  GroupStateName,
  Groups,
  ResetOffset,
  ResetTarget,
  TopicPartitions,
} from './groups/types.ts'
export type {
  Acks,
  Delivered,
  DeliveryFailure,
  Partitioner,
  Producer,
  ProducerOptions,
  ProducerRecord,
  RecordLocation,
} from './producer/types.ts'
export type {
  ConsumedRecord,
  PerPartition,
  Reader,
  ReaderOptions,
  ReaderPartition,
  RecordBatch,
  RecordHeader,
  SkippedOffsets,
  StartPosition,
  StopPosition,
} from './reader/types.ts'
export type { Client, ClientOptions } from './types.ts'
