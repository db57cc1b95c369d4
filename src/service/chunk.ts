import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { LogSlice } from '../log/log-tail.ts'
import { baseOffsetAt, lastOffsetAt, recordCountAt, sizeInBytesAt } from '../records/batch-header.ts'
import { batchPositions } from '../records/batch-positions.ts'
import { type DecodedRecord, decodeRecords } from '../records/decode-batch.ts'
import type { RecordFormat, StoredRecord } from '../wire/messages.ts'
import { storedRecord } from '../wire/record-codec.ts'

/** What may go into a frame now. */
export interface TakeLimits {
  /** Left in this frame. */
  readonly bytes: number
  /** In an empty frame: what is larger than this never goes. */
  readonly bytesMax: number
  /** Credit; at least one batch (or record) goes while some is left. */
  readonly records: number
  readonly creditBytes: number
}

/** A part of a chunk in the form that the client wants. */
export interface TakenPart {
  readonly batches: readonly Buffer[]
  readonly records: readonly StoredRecord[]
  readonly recordCount: number
  /** As it will be encoded, at most. */
  readonly sizeBytes: number
  /** Where the rest begins. */
  readonly nextOffset: Offset
}

/** What one read brought, handed out frame by frame. */
export interface Chunk {
  /** Undefined: nothing fits into what is left of this frame. Throws what no frame could carry. */
  take(limits: TakeLimits): TakenPart | undefined
  /** All is taken. */
  readonly isEmpty: boolean
  /** Memory that it holds beside the bytes of the read: a batch, decompressed. */
  readonly extraBytes: number
}

export interface ChunkRange {
  /** Records before it are not wanted. */
  readonly from: Offset
  /** Nor those from here on. */
  readonly stop: Offset | undefined
  /** Cut into single batches, because credit is counted. */
  readonly isCounted: boolean
  /** For messages. */
  readonly name: string
}

export function makeChunk(slice: LogSlice, format: RecordFormat, range: ChunkRange): Chunk {
  return format === 'BATCHES' ? new BatchChunk(slice, range) : new RecordChunk(slice, range)
}

/**
 * Batches as they are stored. Without a stop in reach and without credit nothing is looked at but the buffers, which
 * hold many batches each when they come from a file.
 */
class BatchChunk implements Chunk {
  readonly extraBytes = 0
  readonly #buffers: readonly Buffer[]
  readonly #endOffset: Offset
  readonly #range: ChunkRange
  #next = 0

  constructor(slice: LogSlice, range: ChunkRange) {
    const { stop } = range
    const reachesStop = stop !== undefined && slice.nextOffset > stop
    this.#buffers = reachesStop || range.isCounted ? singleBatches(slice, stop) : slice.buffers
    this.#endOffset = reachesStop ? stop : slice.nextOffset
    this.#range = range
  }

  get isEmpty(): boolean {
    return this.#next >= this.#buffers.length
  }

  take(limits: TakeLimits): TakenPart | undefined {
    const start = this.#next
    let sizeBytes = 0
    let recordCount = 0
    while (this.#next < this.#buffers.length) {
      const buffer = this.#buffers[this.#next] as Buffer
      const cost = buffer.length + BYTES_FIELD_BYTES
      if (sizeBytes + cost > limits.bytes) {
        if (this.#next === start && cost > limits.bytesMax) throw this.#tooLarge(buffer, limits.bytesMax)
        break
      }
      sizeBytes += cost
      this.#next++
      if (!this.#range.isCounted) continue
      recordCount += recordCountAt(buffer, 0)
      if (recordCount >= limits.records || sizeBytes >= limits.creditBytes) break
    }
    if (this.#next === start && this.#next < this.#buffers.length) return undefined
    const rest = this.#buffers[this.#next]
    const nextOffset = rest === undefined ? this.#endOffset : baseOffsetAt(rest, 0)
    return {
      batches: this.#buffers.slice(start, this.#next),
      records: [],
      recordCount,
      sizeBytes,
      nextOffset,
    }
  }

  #tooLarge(batch: Buffer, bytesMax: number): NaruError {
    const what = `the batch of ${batch.length} bytes at offset ${baseOffsetAt(batch, 0)}`
    return tooLargeForClient(this.#range.name, what, { sizeBytes: batch.length, bytesMax })
  }
}

/** Records one by one, for clients that cannot read batches. */
class RecordChunk implements Chunk {
  readonly #stored: ReadonlySet<ArrayBufferLike>
  readonly #records: Iterator<DecodedRecord>
  readonly #endOffset: Offset
  readonly #range: ChunkRange
  #ahead: DecodedRecord | undefined
  #nextOffset: Offset
  /** Met while looking ahead: told only once everything before it is taken. */
  #failure: NaruError | undefined

  constructor(slice: LogSlice, range: ChunkRange) {
    this.#range = range
    this.#stored = new Set(slice.buffers.map(buffer => buffer.buffer))
    this.#endOffset = Math.min(slice.nextOffset, range.stop ?? slice.nextOffset)
    this.#nextOffset = range.from
    this.#records = wantedRecords(slice, range)
    this.#advance()
  }

  get isEmpty(): boolean {
    return this.#ahead === undefined && this.#failure === undefined
  }

  take(limits: TakeLimits): TakenPart | undefined {
    if (this.#ahead === undefined && this.#failure !== undefined) throw this.#failure
    const records: StoredRecord[] = []
    const recordsMax = Math.min(limits.records, RECORDS_PER_TAKE_MAX)
    let sizeBytes = 0
    while (this.#ahead !== undefined && records.length < recordsMax && sizeBytes < limits.creditBytes) {
      const cost = storedSizeBound(this.#ahead)
      if (sizeBytes + cost > limits.bytes) {
        if (records.length > 0) break
        if (cost <= limits.bytesMax) return undefined
        const what = `the record of about ${cost} bytes at offset ${this.#ahead.offset}`
        throw tooLargeForClient(this.#range.name, what, { sizeBytes: cost, bytesMax: limits.bytesMax })
      }
      sizeBytes += cost
      records.push(storedRecord(this.#ahead))
      this.#advance()
    }
    return { batches: [], records, recordCount: records.length, sizeBytes, nextOffset: this.#nextOffset }
  }

  /** Keys and values are views of what their batch was decompressed to. */
  get extraBytes(): number {
    const view = this.#ahead?.value ?? this.#ahead?.key
    return view == null || this.#stored.has(view.buffer) ? 0 : view.buffer.byteLength
  }

  #advance(): void {
    const before = this.#ahead
    try {
      const { value, done } = this.#records.next()
      this.#ahead = done === true ? undefined : value
      this.#nextOffset = this.#ahead?.offset ?? this.#endOffset
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#failure = thrown
      this.#ahead = undefined
      this.#nextOffset = before === undefined ? this.#nextOffset : before.offset + 1
    }
  }
}

function* wantedRecords(slice: LogSlice, range: ChunkRange): Generator<DecodedRecord, void, void> {
  const stop = range.stop ?? Number.POSITIVE_INFINITY
  for (const buffer of slice.buffers) {
    for (const at of batchPositions(buffer)) {
      if (lastOffsetAt(buffer, at) < range.from) continue
      if (baseOffsetAt(buffer, at) >= stop) return
      for (const record of decoded(buffer, at, range.name)) {
        if (record.offset >= stop) return
        if (record.offset >= range.from) yield record
      }
    }
  }
}

/** A producer may have compressed nonsense: nodes do not look inside, so its readers are the first to see it. */
function* decoded(buffer: Buffer, at: number, name: string): Generator<DecodedRecord, void, void> {
  try {
    yield* decodeRecords(buffer, at, { decompressedBytesMax: DECOMPRESSED_BYTES_MAX })
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    const nextOffset = lastOffsetAt(buffer, at) + 1
    throw new NaruError(
      thrown.reason,
      `${name}: the batch at offset ${baseOffsetAt(buffer, at)} is stored as it was sent, but its records cannot be ` +
        `decoded here (${thrown.message}): go on at offset ${nextOffset}, or read whole batches (RECORD_FORMAT_BATCHES)`,
      { cause: thrown, details: { next_offset: String(nextOffset) } },
    )
  }
}

function singleBatches(slice: LogSlice, stop: Offset | undefined): Buffer[] {
  const batches: Buffer[] = []
  for (const buffer of slice.buffers) {
    for (const at of batchPositions(buffer)) {
      if (stop !== undefined && baseOffsetAt(buffer, at) >= stop) return batches
      batches.push(buffer.subarray(at, at + sizeInBytesAt(buffer, at)))
    }
  }
  return batches
}

function storedSizeBound(record: DecodedRecord): number {
  let bytes = RECORD_FIELDS_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  for (const header of record.headers)
    bytes += 3 * BYTES_FIELD_BYTES + Buffer.byteLength(header.key) + (header.value?.length ?? 0)
  return bytes
}

function tooLargeForClient(
  name: string,
  what: string,
  sizes: { sizeBytes: number; bytesMax: number },
): NaruError {
  return new NaruError(
    'RECORD_TOO_LARGE_FOR_CLIENT',
    `${name}: ${what} does not fit into a frame with ${sizes.bytesMax} bytes for records: ` +
      "raise max_frame_bytes, and the client's receive limit with it",
    { details: { size_bytes: String(sizes.sizeBytes) } },
  )
}

/**
 * Of one batch, at most: with the slowest codec that takes a tenth of a second of the event loop, and a few kilobytes
 * can be made to need it. Clients that decode for themselves are not bound by it.
 */
const DECOMPRESSED_BYTES_MAX = 16 * 1024 * 1024
/** Tag and length of a `bytes` field. */
const BYTES_FIELD_BYTES = 6
/** Tags, lengths, timestamp and offset of a StoredRecord, with its own tag and length. */
const RECORD_FIELDS_BYTES = 44
/** Decoding that many takes some milliseconds of the event loop. */
const RECORDS_PER_TAKE_MAX = 10_000
