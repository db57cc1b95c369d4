import type { Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { DrawnRecords, GroupReader } from '../../client/consumer/group-reader.ts'
import type { OwnedPartition, Place } from '../../client/consumer/owned-partition.ts'
import { baseOffsetAt } from '../../records/batch-header.ts'
import type { PartitionRecords, RecordFormat, StoredRecord } from '../../wire/messages.ts'
import { type Chunk, makeChunk, type TakenPart } from '../chunk.ts'
import type { ReadCredit } from '../read-credit.ts'

/** What one Records frame gives out, and how far each partition is done once the frame is. */
export interface RecordsFrame {
  readonly partitions: PartitionRecords[]
  readonly ends: Map<OwnedPartition, FrameEnd>
}

export interface FrameEnd {
  readonly place: Place
  readonly seekCount: number
}

export interface SubscribeRecordsOptions {
  readonly reader: GroupReader
  readonly format: RecordFormat
  readonly frameBytes: number
  readonly frameRecords: number
  readonly credit: ReadCredit
  /** Its records cannot be sent: it is not read on. */
  readonly onFailed: (owned: OwnedPartition, error: NaruError) => void
}

/** Number and tags of a frame. */
const FRAME_BYTES = 32
/** Tags, lengths and the numbers of a partition. */
const PARTITION_BYTES = 80

/** Cuts what a `GroupReader` gives out into frames that the client takes. */
export class SubscribeRecords {
  readonly #options: SubscribeRecordsOptions
  /** A batch that no frame took whole. */
  #open: { readonly drawn: DrawnRecords; readonly chunk: Chunk } | undefined

  constructor(options: SubscribeRecordsOptions) {
    this.#options = options
  }

  /** More of this partition is here than was sent. */
  hasRest(owned: OwnedPartition): boolean {
    return this.#open?.drawn.owned === owned
  }

  /** Undefined: there is nothing now, or no credit. */
  next(): RecordsFrame | undefined {
    const { credit, frameBytes, frameRecords } = this.#options
    const frame = new OpenFrame(frameBytes)
    while (!credit.isUsedUp && frame.recordCount < frameRecords) {
      const open = this.#current()
      if (open === undefined) break
      const { drawn, chunk } = open
      const part = this.#take(chunk, drawn, {
        bytes: frame.roomFor(drawn.owned.topic),
        bytesMax: frame.roomMaxFor(drawn.owned.topic),
        records: Math.min(frameRecords - frame.recordCount, credit.records),
        creditBytes: credit.bytes,
      })
      if (part === 'failed') continue
      if (part === undefined) break
      frame.add(drawn, part, chunk.isEmpty)
      credit.use(part)
      if (chunk.isEmpty) this.#open = undefined
    }
    return frame.recordCount > 0 || frame.ends.size > 0 ? frame : undefined
  }

  #current(): { drawn: DrawnRecords; chunk: Chunk } | undefined {
    const { reader, format } = this.#options
    if (!reader.mayDeliver) return undefined
    if (this.#open !== undefined && reader.isCurrent(this.#open.drawn)) return this.#open
    this.#open = undefined
    const drawn = reader.draw()
    if (drawn === undefined) return undefined
    const { bytes, nextOffset } = drawn.batch
    const slice = {
      buffers: [bytes],
      baseOffset: baseOffsetAt(bytes, 0),
      nextOffset,
      sizeBytes: bytes.length,
    }
    const name = `"${drawn.owned.topic}" partition ${drawn.owned.partition}`
    const chunk = makeChunk(slice, format, { from: drawn.from, stop: undefined, isCounted: true, name })
    this.#open = { drawn, chunk }
    return this.#open
  }

  #take(
    chunk: Chunk,
    { owned }: DrawnRecords,
    limits: Parameters<Chunk['take']>[0],
  ): TakenPart | undefined | 'failed' {
    try {
      return chunk.take(limits)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#open = undefined
      this.#options.onFailed(owned, thrown)
      return 'failed'
    }
  }
}

class OpenFrame implements RecordsFrame {
  readonly partitions: OpenPartition[] = []
  readonly ends = new Map<OwnedPartition, FrameEnd>()
  recordCount = 0
  #bytes = 0
  readonly #bytesMax: number
  #last: OwnedPartition | undefined

  constructor(frameBytes: number) {
    this.#bytesMax = frameBytes - FRAME_BYTES
  }

  roomFor(topic: string): number {
    return this.roomMaxFor(topic) - this.#bytes
  }

  /** In an empty frame. */
  roomMaxFor(topic: string): number {
    return this.#bytesMax - PARTITION_BYTES - topic.length
  }

  add({ owned, end }: DrawnRecords, part: TakenPart, isWhole: boolean): void {
    const { topic, partition, cursor } = owned
    const place = isWhole ? end : { nextOffset: part.nextOffset, leaderEpoch: end.leaderEpoch }
    this.recordCount += part.recordCount
    this.#bytes += part.sizeBytes
    this.ends.set(owned, { place, seekCount: owned.seekCount })
    if (this.#last !== owned) {
      this.#last = owned
      this.#bytes += PARTITION_BYTES + topic.length
      this.partitions.push({
        topic,
        partition,
        batches: [],
        records: [],
        nextOffset: place.nextOffset,
        highWatermark: cursor?.highWatermark ?? place.nextOffset,
        logStartOffset: cursor?.logStartOffset ?? 0,
        leaderEpoch: end.leaderEpoch ?? 0,
      })
    }
    const last = this.partitions.at(-1)
    if (last === undefined) return
    last.batches.push(...part.batches)
    last.records.push(...part.records)
    last.nextOffset = place.nextOffset
  }
}

type OpenPartition = Omit<PartitionRecords, 'batches' | 'records' | 'nextOffset'> & {
  readonly batches: Buffer[]
  readonly records: StoredRecord[]
  nextOffset: Offset
}
