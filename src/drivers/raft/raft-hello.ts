import type { Epoch, NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { isMemberId, type MemberId, nodeIdOf } from '../../raft/membership.ts'
import type { MessageInit } from '../../wire/codec.ts'
import type { RaftHello } from '../../wire/generated/raft.ts'

/** Who this member is, to those it talks to. */
export interface Identity {
  readonly clusterId: Uuid
  readonly self: MemberId
}

/** The directory of a node, and the last epoch under which it took part. */
export interface KnownDirectory {
  readonly directoryId: Uuid
  readonly epoch: Epoch
}

export interface Acquaintance extends Identity {
  /** As the metadata here have it; undefined: nothing is known. */
  readonly directoryOf?: (nodeId: NodeId) => KnownDirectory | undefined
}

export function helloTo(
  to: MemberId,
  { clusterId, self, directoryOf }: Acquaintance,
): MessageInit<RaftHello> {
  const known = directoryOf?.(nodeIdOf(to))
  const told = known && { receiverDirectoryId: known.directoryId, receiverDirectoryEpoch: known.epoch }
  return { clusterId, from: self, to, ...told }
}

export function toldIn(hello: RaftHello): KnownDirectory | undefined {
  const { receiverDirectoryId: directoryId, receiverDirectoryEpoch: epoch } = hello
  return directoryId === undefined || epoch === undefined ? undefined : { directoryId, epoch }
}

/**
 * The sender of a stream from its first frame. Throws where the stream is meant for another: an address may have come
 * to belong to another node, or a node may have another disk now (rules A1, C1).
 */
export function checkHello(hello: RaftHello | undefined, { clusterId, self }: Identity): MemberId {
  if (!hello) throw new NaruError('INVALID_REQUEST', 'a raft stream begins with its hello')
  if (hello.clusterId !== clusterId || hello.to !== self || !isMemberId(hello.from) || hello.from === self) {
    throw new NaruError(
      'INVALID_REQUEST',
      `${hello.from} of cluster ${hello.clusterId} calls ${hello.to}, but this is ${self} of cluster ${clusterId}: ` +
        'check the peer addresses of both nodes (cluster.peers)',
      { details: { clusterId, member: self } },
    )
  }
  return hello.from
}
