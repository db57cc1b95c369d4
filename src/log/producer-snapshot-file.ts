import type { ProducerId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Disk } from '../ports/disk.ts'
import { crc32c } from '../records/crc32c.ts'
import {
  PRODUCER_BATCHES,
  type ProducerState,
  type StoredBatch,
  sequenceAfter,
  sequenceBefore,
} from './producer-state.ts'

/**
 * Producer state at an offset, `<offset>.snapshot`: Kafka's format, version 1, all numbers big-endian.
 *
 * | at | bytes | field |
 * |---|---|---|
 * | 0 | 2 | version, 1 |
 * | 2 | 4 | CRC-32C of all that follows |
 * | 6 | 4 | number of entries |
 *
 * | in the entry | bytes | field |
 * |---|---|---|
 * | 0 | 8 | producer id |
 * | 8 | 2 | producer epoch |
 * | 10 | 4 | last sequence (inclusive); -1: no batch, only control batches so far |
 * | 14 | 8 | last offset (inclusive); -1: no batch |
 * | 22 | 4 | last offset - first offset |
 * | 26 | 8 | max timestamp of the batch |
 * | 34 | 4 | epoch of the transaction coordinator; -1: none |
 * | 38 | 8 | first offset of the open transaction; -1: none |
 *
 * Kafka writes one entry per producer, its last batch. Naru writes one per remembered batch, oldest first, and the
 * producers least recently appended first: Kafka's reader keeps the last entry it sees of a producer and so reads the
 * same state as from a file of its own. The content is a function of the log alone; the file is derived (D6): a
 * missing or damaged one costs a replay of the log and nothing else.
 * Naru has no transactions: it writes -1 into the last two fields and does not judge them when it reads.
 */
const SNAPSHOT_VERSION = 1
const HEADER_BYTES = 10
const ENTRY_BYTES = 46
const CRC_AT = 2
const CRC_START = 6
const NONE = -1

export type ProducerEntries = readonly (readonly [ProducerId, ProducerState])[]

export function encodeProducerSnapshot(entries: Iterable<readonly [ProducerId, ProducerState]>): Buffer {
  const rows: { producerId: ProducerId; epoch: number; batch: StoredBatch | undefined }[] = []
  for (const [producerId, { epoch, batches }] of entries) {
    if (batches.length === 0) rows.push({ producerId, epoch, batch: undefined })
    for (const batch of batches) rows.push({ producerId, epoch, batch })
  }
  const buffer = Buffer.alloc(HEADER_BYTES + rows.length * ENTRY_BYTES)
  buffer.writeInt16BE(SNAPSHOT_VERSION, 0)
  buffer.writeInt32BE(rows.length, CRC_START)
  for (const [index, { producerId, epoch, batch }] of rows.entries()) {
    const at = HEADER_BYTES + index * ENTRY_BYTES
    buffer.writeBigInt64BE(BigInt(producerId), at)
    buffer.writeInt16BE(epoch, at + 8)
    buffer.writeInt32BE(batch?.lastSequence ?? NONE, at + 10)
    buffer.writeBigInt64BE(BigInt(batch?.lastOffset ?? NONE), at + 14)
    buffer.writeInt32BE(batch ? batch.lastOffset - batch.baseOffset : 0, at + 22)
    buffer.writeBigInt64BE(BigInt(batch?.timestamp ?? NONE), at + 26)
    buffer.writeInt32BE(NONE, at + 34)
    buffer.writeBigInt64BE(BigInt(NONE), at + 38)
  }
  buffer.writeUInt32BE(crc32c(buffer, CRC_START), CRC_AT)
  return buffer
}

/** Throws CORRUPT_DATA for anything that was not written by this format. */
export function decodeProducerSnapshot(buffer: Buffer, path: string): ProducerEntries {
  const refuse = (what: string) => new NaruError('CORRUPT_DATA', `producer snapshot ${path}: ${what}`)
  if (buffer.length < HEADER_BYTES) throw refuse(`${buffer.length} bytes are less than its header`)
  const version = buffer.readInt16BE(0)
  if (version !== SNAPSHOT_VERSION)
    throw refuse(`its version is ${version}; this release reads ${SNAPSHOT_VERSION}`)
  if (crc32c(buffer, CRC_START) !== buffer.readUInt32BE(CRC_AT)) throw refuse('its checksum is wrong')
  const count = buffer.readInt32BE(CRC_START)
  if (buffer.length !== HEADER_BYTES + count * ENTRY_BYTES)
    throw refuse(`${buffer.length} bytes do not hold ${count} entries`)
  const found = new Map<ProducerId, { epoch: number; batches: StoredBatch[] }>()
  for (let at = HEADER_BYTES; at < buffer.length; at += ENTRY_BYTES) {
    const producerId = safeInteger(buffer, at)
    const epoch = buffer.readInt16BE(at + 8)
    const batch = readBatch(buffer, at)
    if (producerId === undefined || producerId < 0 || epoch < 0 || batch === 'bad')
      throw refuse(`its entry at byte ${at} makes no sense`)
    const earlier = found.get(producerId)
    const batches = earlier?.epoch === epoch ? earlier.batches : []
    const previous = batches.at(-1)
    if (batch && previous && !follows(batch, previous))
      throw refuse(`its entry at byte ${at} does not follow the one before it`)
    if (batch) batches.push(batch)
    if (batches.length > PRODUCER_BATCHES) throw refuse(`producer ${producerId} has too many entries`)
    found.set(producerId, { epoch, batches })
  }
  return [...found]
}

/** Undefined where there is none. */
export async function readProducerSnapshot(disk: Disk, path: string): Promise<ProducerEntries | undefined> {
  const content = await disk.readFile(path)
  return content && decodeProducerSnapshot(content, path)
}

function readBatch(buffer: Buffer, at: number): StoredBatch | undefined | 'bad' {
  const lastSequence = buffer.readInt32BE(at + 10)
  const lastOffset = safeInteger(buffer, at + 14)
  const offsetDelta = buffer.readInt32BE(at + 22)
  const timestamp = safeInteger(buffer, at + 26)
  if (lastOffset === NONE) return lastSequence === NONE ? undefined : 'bad'
  if (lastOffset === undefined || timestamp === undefined) return 'bad'
  if (lastSequence < 0 || offsetDelta < 0 || lastOffset < offsetDelta) return 'bad'
  return {
    baseSequence: sequenceBefore(lastSequence, offsetDelta),
    lastSequence,
    baseOffset: lastOffset - offsetDelta,
    lastOffset,
    timestamp,
  }
}

function follows(batch: StoredBatch, previous: StoredBatch): boolean {
  return (
    batch.baseSequence === sequenceAfter(previous.lastSequence, 1) && batch.baseOffset > previous.lastOffset
  )
}

function safeInteger(buffer: Buffer, at: number): number | undefined {
  const value = Number(buffer.readBigInt64BE(at))
  return Number.isSafeInteger(value) ? value : undefined
}
