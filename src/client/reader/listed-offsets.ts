import type { NodeId } from '../../base/brands.ts'
import type { ListedOffset, ListOffsetsPartition, MessageInit } from '../../wire/messages.ts'
import { Consumer } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'

/** As many as one request may name. */
const LISTED_MAX = 1_000
/** A leader that hangs has a successor by then. */
const LIST_TIMEOUT_MS = 4_000

/** Where these are, by their leader, in order. */
export async function listedOffsets(
  connection: Connection,
  leaderId: NodeId,
  asked: readonly MessageInit<ListOffsetsPartition>[],
): Promise<ListedOffset[]> {
  const listed: ListedOffset[] = []
  for (let at = 0; at < asked.length; at += LISTED_MAX) {
    const { offsets } = await connection.callNode(
      leaderId,
      Consumer.listOffsets,
      { partitions: asked.slice(at, at + LISTED_MAX) },
      { timeoutMs: LIST_TIMEOUT_MS },
    )
    listed.push(...offsets)
  }
  return listed
}
