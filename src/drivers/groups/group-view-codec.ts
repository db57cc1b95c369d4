import type { Epoch, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { crc32c, crc32cAfter } from '../../records/crc32c.ts'

/**
 * The view of `__groups` in LevelDB, byte for byte (docs/formats.md). Keys of one partition are together, its state first:
 *
 *     'g' | partition, 4 bytes | 0                                   the state of the view
 *     'g' | partition, 4 bytes | 1 | view id, 8 bytes | record key   the newest value of one record key
 *
 * A value is the CRC-32C of the key and of all that follows it, then that. What a view was before it was begun anew lies
 * under another id and is nobody's.
 */

/** How far the view of one partition has come. */
export interface ViewState {
  /** Of the topic `__groups`, which may be another one than when this was written. */
  readonly topicId: Uuid
  readonly viewId: Buffer
  /** Everything below is in the view; exclusive end. */
  readonly appliedEnd: Offset
  /** Of the last batch applied; undefined: none. */
  readonly appliedEpoch: Epoch | undefined
}

export const VIEW_ID_BYTES = 8

const PREFIX = 0x67
const STATE_KIND = 0
const ROW_KIND = 1
const HEAD_BYTES = 6
const CRC_BYTES = 4
const VERSION = 0
const STATE_BYTES = 1 + VIEW_ID_BYTES + 8 + 4
const NO_EPOCH = -1

export function viewStateKey(partition: PartitionId): Buffer {
  return head(partition, STATE_KIND)
}

/** All keys of a partition's view, and of what it was before: `from <= key < to`. */
export function viewRange(partition: PartitionId): { from: Buffer; to: Buffer } {
  return { from: head(partition, STATE_KIND), to: head(partition + 1, STATE_KIND) }
}

/** Rows of a partition that are not of this view: those before it, and those after it. */
export function foreignRows(partition: PartitionId, viewId: Buffer): { from: Buffer; to: Buffer }[] {
  const own = Buffer.concat([head(partition, ROW_KIND), viewId])
  return [
    { from: head(partition, ROW_KIND), to: own },
    // 0xff begins no record key.
    { from: Buffer.concat([own, Buffer.from([0xff])]), to: head(partition + 1, STATE_KIND) },
  ]
}

export function rowKey(partition: PartitionId, viewId: Buffer, recordKey: Uint8Array): Buffer {
  return Buffer.concat([head(partition, ROW_KIND), viewId, recordKey])
}

/** The record key of a row of this view; undefined: it is another one's. */
export function recordKeyOf(key: Buffer, viewId: Buffer): Buffer | undefined {
  const start = HEAD_BYTES + VIEW_ID_BYTES
  if (key.length <= start) return undefined
  const isOwn = key[HEAD_BYTES - 1] === ROW_KIND && viewId.compare(key, HEAD_BYTES, start) === 0
  return isOwn ? key.subarray(start) : undefined
}

export function encodeViewValue(key: Buffer, content: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(CRC_BYTES + content.length)
  value.set(content, CRC_BYTES)
  value.writeUInt32BE(crcOf(key, content))
  return value
}

/** undefined: it is damaged. */
export function decodeViewValue(key: Buffer, value: Buffer): Buffer | undefined {
  if (value.length < CRC_BYTES) return undefined
  const content = value.subarray(CRC_BYTES)
  return value.readUInt32BE() === crcOf(key, content) ? content : undefined
}

export function encodeViewState({ topicId, viewId, appliedEnd, appliedEpoch }: ViewState): Buffer {
  const content = Buffer.allocUnsafe(STATE_BYTES)
  content.writeUInt8(VERSION, 0)
  content.set(viewId, 1)
  content.writeBigInt64BE(BigInt(appliedEnd), 1 + VIEW_ID_BYTES)
  content.writeInt32BE(appliedEpoch ?? NO_EPOCH, 9 + VIEW_ID_BYTES)
  return Buffer.concat([content, Buffer.from(topicId)])
}

/** undefined: it is of another version, or none. The view is made anew then. */
export function decodeViewState(content: Buffer): ViewState | undefined {
  if (content.length < STATE_BYTES || content[0] !== VERSION) return undefined
  const appliedEpoch = content.readInt32BE(9 + VIEW_ID_BYTES)
  return {
    topicId: content.toString('utf8', STATE_BYTES),
    viewId: Buffer.from(content.subarray(1, 1 + VIEW_ID_BYTES)),
    appliedEnd: Number(content.readBigInt64BE(1 + VIEW_ID_BYTES)),
    appliedEpoch: appliedEpoch === NO_EPOCH ? undefined : appliedEpoch,
  }
}

function head(partition: PartitionId, kind: number): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES)
  bytes.writeUInt8(PREFIX, 0)
  bytes.writeUInt32BE(partition, 1)
  bytes.writeUInt8(kind, HEAD_BYTES - 1)
  return bytes
}

/** As of both in a row. */
function crcOf(key: Buffer, content: Uint8Array): number {
  return crc32cAfter(crc32c(key), content)
}
