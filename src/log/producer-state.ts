import { assert } from '../base/assert.ts'
import type { Offset, ProducerId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'

/**
 * What one partition remembers of its idempotent producers, so that a batch sent again is answered with its first
 * offset instead of being stored twice (rel I1-I3, C7). Pure: driven by the log's appends, replays and truncations.
 * The model is Kafka's ProducerStateManager and ProducerAppendInfo, with two differences:
 * - a sequence other than 0 of a producer that is not remembered is refused (Kafka stores it, and a retry of a batch
 *   that was stored before the memory was lost is then stored twice);
 * - all five batches survive a restart (Kafka's snapshot keeps the last one).
 *
 * Invariants: everything here but `#seenMs` is a function of the batches between log start and log end, so that a
 * snapshot with the batches after it, the whole log, and another replica all come to the same answers:
 * - the batches of an entry are consecutive in sequence, of one epoch, and rise in offset; a batch that does not
 *   follow on the one before it (its producer had been forgotten here) replaces all before it;
 * - at most `producerIdsMax` producers; the one whose last batch is oldest in the log goes first. Such a producer gets
 *   UNKNOWN_PRODUCER_ID at its next batch and takes a new id;
 * - nothing is remembered of batches below log start.
 * When a producer was last heard of is this process's own clock, which never jumps (a wall clock set forward would forget
 * them all, and store their retries twice): at a restart that starts anew, which can only make the
 * memory longer. (Record timestamps will not do: a producer that copies old records would be forgotten at once.)
 */
export class ProducerStateTable {
  /** Least recently appended first. */
  readonly #producers = new Map<ProducerId, ProducerState>()
  readonly #seenMs = new Map<ProducerId, number>()
  readonly #producerIdsMax: number

  constructor(options: ProducerStateOptions = {}) {
    this.#producerIdsMax = options.producerIdsMax ?? PRODUCER_IDS_MAX
  }

  get size(): number {
    return this.#producers.size
  }

  /** All that is remembered, least recently appended first; treat as read-only. */
  get entries(): Iterable<readonly [ProducerId, ProducerState]> {
    return this.#producers
  }

  /** What to do with a batch from a client. Throws PRODUCER_FENCED, OUT_OF_ORDER_SEQUENCE or UNKNOWN_PRODUCER_ID. */
  check(batch: ProducerBatch): ProducerVerdict {
    if (batch.producerId < 0) return APPEND
    const state = this.#producers.get(batch.producerId)
    if (!state) {
      if (batch.baseSequence === 0) return APPEND
      throw unknownProducer(batch)
    }
    if (batch.producerEpoch < state.epoch) throw fenced(batch, state.epoch)
    if (batch.producerEpoch > state.epoch) {
      if (batch.baseSequence === 0) return APPEND
      throw outOfOrder(batch, { expected: 0, isBehind: false })
    }
    const lastSequence = sequenceAfter(batch.baseSequence, batch.lastOffsetDelta)
    for (const stored of state.batches)
      if (stored.baseSequence === batch.baseSequence && stored.lastSequence === lastSequence)
        return { kind: 'duplicate', stored }
    const expected = nextSequence(state)
    if (batch.baseSequence === expected) return APPEND
    throw outOfOrder(batch, { expected, isBehind: isBehind(batch.baseSequence, expected) })
  }

  /**
   * Notes a batch that is in the log now, appended or replayed, as it stands: what is in the log is not judged again.
   * `nowMs` is the present, at a replay as well.
   */
  update(batch: ProducerBatch, nowMs: number): void {
    if (batch.producerId < 0) return
    const state = this.#producers.get(batch.producerId)
    const isNewEpoch = state?.epoch !== batch.producerEpoch
    let batches = isNewEpoch ? [] : state.batches
    // A control batch (of a log that Kafka wrote) has no sequence; it may raise the epoch.
    if (!batch.isControl) {
      const follows = !isNewEpoch && batch.baseSequence === nextSequence(state)
      const kept = follows ? batches.slice(1 - PRODUCER_BATCHES) : []
      batches = [...kept, stored(batch)]
    }
    this.#remember(batch.producerId, { epoch: batch.producerEpoch, batches }, nowMs)
  }

  /** Takes over what a snapshot holds, in its order; replaces what was here. */
  load(entries: Iterable<readonly [ProducerId, ProducerState]>, nowMs: number): void {
    this.clear()
    for (const [producerId, state] of entries) {
      assert(state.batches.length <= PRODUCER_BATCHES, `at most ${PRODUCER_BATCHES} batches of a producer`)
      this.#remember(producerId, state, nowMs)
    }
  }

  /** For a truncation: the batches cut off may have pushed out others that count again, so the log is replayed. */
  clear(): void {
    this.#producers.clear()
    this.#seenMs.clear()
  }

  /** Forgets batches that begin below the log start, and producers of which no batch is left. Whether there were any. */
  removeBelow(logStartOffset: Offset): boolean {
    let hasGone = false
    for (const [producerId, state] of this.#producers) {
      const batches = state.batches.filter(batch => batch.lastOffset >= logStartOffset)
      if (batches.length === 0) this.#forget(producerId)
      else if (batches.length < state.batches.length) this.#producers.set(producerId, { ...state, batches })
      else continue
      hasGone = true
    }
    return hasGone
  }

  /** Forgets producers that were not heard of for `expirationMs` (`producer.id.expiration.ms`). Whether there were any. */
  expire(options: { nowMs: number; expirationMs: number }): boolean {
    let hasGone = false
    for (const [producerId, seenMs] of this.#seenMs) {
      if (options.nowMs - seenMs < options.expirationMs) continue
      this.#forget(producerId)
      hasGone = true
    }
    return hasGone
  }

  #remember(producerId: ProducerId, state: ProducerState, nowMs: number): void {
    this.#producers.delete(producerId)
    this.#producers.set(producerId, state)
    this.#seenMs.set(producerId, nowMs)
    if (this.#producers.size <= this.#producerIdsMax) return
    const [oldest] = this.#producers.keys()
    if (oldest !== undefined) this.#forget(oldest)
  }

  #forget(producerId: ProducerId): void {
    this.#producers.delete(producerId)
    this.#seenMs.delete(producerId)
  }
}

export interface ProducerStateOptions {
  readonly producerIdsMax?: number
}

/** Batches remembered per producer: as many as a client may have in flight (`max.in.flight` of idempotent clients). */
export const PRODUCER_BATCHES = 5
/** Per partition. At most about 2 MiB of memory and 1 MiB of snapshot, for clients that take a new id at each start. */
const PRODUCER_IDS_MAX = 4096

/** The fields of a batch header (`records/batch-header.ts`) that matter here; -1 stands for "none". */
export interface ProducerBatch {
  readonly producerId: ProducerId
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly baseOffset: Offset
  readonly lastOffsetDelta: number
  readonly maxTimestamp: number
  readonly isControl: boolean
}

export interface ProducerState {
  readonly epoch: number
  /** Oldest first. Empty if only control batches are there. */
  readonly batches: readonly StoredBatch[]
}

export interface StoredBatch {
  readonly baseSequence: number
  /** Inclusive. */
  readonly lastSequence: number
  readonly baseOffset: Offset
  /** Inclusive. */
  readonly lastOffset: Offset
  readonly timestamp: number
}

export type ProducerVerdict =
  | { readonly kind: 'append' }
  /** It is in the log already, there; to be answered once the high watermark has passed it (C7). */
  | { readonly kind: 'duplicate'; readonly stored: StoredBatch }

const APPEND: ProducerVerdict = { kind: 'append' }

/** Sequences wrap from 2^31 - 1 to 0. */
const SEQUENCES = 2 ** 31

export function sequenceAfter(sequence: number, steps: number): number {
  return (sequence + steps) % SEQUENCES
}

export function sequenceBefore(sequence: number, steps: number): number {
  return (sequence - steps + SEQUENCES) % SEQUENCES
}

function nextSequence(state: ProducerState): number {
  const last = state.batches.at(-1)
  return last ? sequenceAfter(last.lastSequence, 1) : 0
}

/** Of the two ways round the circle the shorter one counts. */
function isBehind(sequence: number, expected: number): boolean {
  return sequenceBefore(expected, sequence) < SEQUENCES / 2
}

function stored(batch: ProducerBatch): StoredBatch {
  return {
    baseSequence: batch.baseSequence,
    lastSequence: sequenceAfter(batch.baseSequence, batch.lastOffsetDelta),
    baseOffset: batch.baseOffset,
    lastOffset: batch.baseOffset + batch.lastOffsetDelta,
    timestamp: batch.maxTimestamp,
  }
}

function details(batch: ProducerBatch): Record<string, string> {
  return {
    producer_id: String(batch.producerId),
    producer_epoch: String(batch.producerEpoch),
    base_sequence: String(batch.baseSequence),
  }
}

function unknownProducer(batch: ProducerBatch): NaruError {
  return new NaruError(
    'UNKNOWN_PRODUCER_ID',
    `producer ${batch.producerId} is not known here and its batch starts at sequence ${batch.baseSequence}, not 0: ` +
      'it was idle for too long, or retention has removed its records (take a new id with InitProducer)',
    { details: details(batch) },
  )
}

function fenced(batch: ProducerBatch, epoch: number): NaruError {
  return new NaruError(
    'PRODUCER_FENCED',
    `producer ${batch.producerId} sent epoch ${batch.producerEpoch}, but epoch ${epoch} has taken over (start a new producer)`,
    { details: { ...details(batch), current_epoch: String(epoch) } },
  )
}

/**
 * A batch behind the expected sequence may be in the log, further back than is remembered: its outcome is unknown, and
 * a client must not send it again under another id as if it were not there.
 */
function outOfOrder(batch: ProducerBatch, found: { expected: number; isBehind: boolean }): NaruError {
  const { producerId, producerEpoch, baseSequence } = batch
  const cause = found.isBehind
    ? 'it, or a part of it, may be stored already, too long ago to tell'
    : 'batches before it are missing'
  return new NaruError(
    'OUT_OF_ORDER_SEQUENCE',
    `producer ${producerId} (epoch ${producerEpoch}) sent sequence ${baseSequence} where ${found.expected} comes next: ${cause}`,
    {
      details: { ...details(batch), expected_sequence: String(found.expected) },
      outcome: found.isBehind ? 'unknown' : 'none',
    },
  )
}
