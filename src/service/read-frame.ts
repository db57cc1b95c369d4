import type {
  PartitionEnd,
  PartitionFailure,
  PartitionRecords,
  PartitionStatus,
  ReadResponse,
  Skipped,
} from '../wire/messages.ts'
import { Consumer } from '../wire/methods.ts'

/** What a Read has to say about a partition beside its records. */
export type Notice =
  | { readonly kind: 'statuses'; readonly value: PartitionStatus }
  | { readonly kind: 'skipped'; readonly value: Skipped }
  | { readonly kind: 'failures'; readonly value: PartitionFailure }
  | { readonly kind: 'ended'; readonly value: PartitionEnd }

/** One frame of Read while it is filled; it never gets larger than the client takes. */
export class ReadFrame {
  readonly bytesMax: number
  #bytes = 0
  /** Of a heartbeat. */
  #metadataAgeMs: number | undefined
  readonly #records: PartitionRecords[] = []
  readonly #notices = {
    statuses: [] as PartitionStatus[],
    skipped: [] as Skipped[],
    failures: [] as PartitionFailure[],
    ended: [] as PartitionEnd[],
  }

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax - FRAME_BYTES
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#bytes === 0 && this.#metadataAgeMs === undefined
  }

  /** Left for the records of one more partition of this topic. */
  roomFor(topic: string): number {
    return this.bytesMax - this.#bytes - PARTITION_BYTES - topic.length
  }

  /** What `roomFor` says of an empty frame. */
  roomMaxFor(topic: string): number {
    return this.bytesMax - PARTITION_BYTES - topic.length
  }

  addRecords(records: PartitionRecords, sizeBytes: number): void {
    this.#records.push(records)
    this.#bytes += sizeBytes + PARTITION_BYTES + records.topic.length
  }

  /** False: it belongs into the next frame. One alone always fits: what it says matters more than the limit. */
  tryAdd(notice: Notice): boolean {
    const bytes = noticeBytes(notice)
    if (!this.isEmpty && this.#bytes + bytes > this.bytesMax) return false
    this.#bytes += bytes
    switch (notice.kind) {
      case 'statuses':
        this.#notices.statuses.push(notice.value)
        break
      case 'skipped':
        this.#notices.skipped.push(notice.value)
        break
      case 'failures':
        this.#notices.failures.push(notice.value)
        break
      case 'ended':
        this.#notices.ended.push(notice.value)
        break
    }
    return true
  }

  /** Sent even if nothing else is in it. */
  markHeartbeat(metadataAgeMs: number): void {
    this.#metadataAgeMs = metadataAgeMs
  }

  encode(): Buffer {
    const response: ReadResponse = {
      records: this.#records,
      ...this.#notices,
      ...(this.#metadataAgeMs !== undefined && { metadataAgeMs: this.#metadataAgeMs }),
    }
    return Consumer.read.response.encode(response)
  }
}

/** `max_frame_bytes` must leave room for at least one notice with its names; see CLIENT_FRAME_BYTES_MIN. */
const FRAME_BYTES = 32
/** Tags, lengths and the numbers of a partition. */
const PARTITION_BYTES = 80
const NOTICE_BYTES = 64

function noticeBytes(notice: Notice): number {
  const bytes = NOTICE_BYTES + notice.value.topic.length
  if (notice.kind !== 'failures') return bytes
  const { failure } = notice.value
  if (failure === undefined) return bytes
  let text = failure.message.length
  for (const [key, value] of Object.entries(failure.details)) text += key.length + value.length + 8
  return bytes + text * 3
}
