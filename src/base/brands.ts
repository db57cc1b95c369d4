/**
 * Numbers that must not be mixed up. A plain number (the result of arithmetic, say) may stand for any of
 * them; an `Offset` where an `Epoch` is asked for is a compile error. All are safe integers (<= 2^53 - 1),
 * checked where they enter the program (codecs, flags), not at each use.
 */
declare const flavor: unique symbol
type Flavor<Name extends string> = number & { readonly [flavor]?: Name }

/** Position of a record in its partition: starts at 0, rises by 1. Ends of ranges are exclusive. */
export type Offset = Flavor<'Offset'>
/** Leader epoch of a partition; for the metadata log, the Raft term. */
export type Epoch = Flavor<'Epoch'>
export type NodeId = Flavor<'NodeId'>
export type PartitionId = Flavor<'PartitionId'>
export type ProducerId = Flavor<'ProducerId'>
/** Offset in the metadata log. */
export type MetadataIndex = Offset

/** 128 random bits as 22 characters of base64url: topic ids, directory ids, cluster ids, incarnations. */
export type Uuid = string
