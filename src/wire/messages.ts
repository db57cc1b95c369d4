/**
 * The messages of the API as TypeScript: camelCase, int64 as safe integers, enums as names without their prefix
 * (`ACKS_ALL` is `'ALL'`), `bytes` as Buffer, absent optional fields and oneof members as undefined.
 * What they mean is written in proto/naru/v1.
 */
export type { MessageInit } from './codec.ts'
export type * from './generated/admin-access.ts'
export type * from './generated/admin-cluster.ts'
export type * from './generated/admin-topics.ts'
export type * from './generated/consumer.ts'
export type * from './generated/errors.ts'
export type * from './generated/groups.ts'
export type * from './generated/metadata.ts'
export type * from './generated/partitions.ts'
export type * from './generated/producer.ts'
export type * from './generated/records.ts'
export type * from './generated/vendored.ts'
