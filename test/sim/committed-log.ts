import type { PartitionState } from '../../src/metadata/metadata-record.ts'
import type { FoundBatch } from '../harness/sim-segments.ts'
import type { ClusterJournal } from './cluster-journal.ts'

/** Batches of a producer that follow one another in sequence. */
interface Sequence {
  readonly epoch: number
  readonly next: number
}

const SEQUENCE_MODULUS = 2 ** 31

/** What some leader of a partition called committed: one log, which all replicas must come to. */
export class CommittedLog {
  readonly topicId: string
  readonly partition: number
  /** `topic-partition`, as its directories are called. */
  readonly name: string
  readonly batches: FoundBatch[] = []
  /** The true high watermark. */
  endOffset = 0
  /** The highest in which a leader has begun. */
  leaderEpoch = -1
  /** As the newest metadata have it. */
  seen: PartitionState | undefined
  /** `write.caching` was on at some time. */
  isCaching = false
  /** Nodes whose page cache is gone, and the node epochs of then, until they are in sync under a later one. */
  readonly lossy = new Map<number, number>()
  /** The disk of a replica was hurt once: with another one down at the same time nobody may be electable any more. */
  wasHarmed = false
  /** No replica needs to have these records any more. */
  isForfeit = false
  readonly #ends: { readonly atMs: number; readonly endOffset: number }[] = []
  readonly #sequences = new Map<number, Sequence>()

  constructor(of: { topic: string; topicId: string; partition: number }) {
    this.topicId = of.topicId
    this.partition = of.partition
    this.name = `${of.topic}-${of.partition}`
  }

  commit(
    batches: readonly FoundBatch[],
    { endOffset, nowMs, journal }: { endOffset: number; nowMs: number; journal: ClusterJournal },
  ): void {
    for (const batch of batches) {
      this.#checkSequence(batch, journal)
      this.batches.push(batch)
    }
    if (endOffset <= this.endOffset) return
    this.endOffset = endOffset
    this.#ends.push({ atMs: nowMs, endOffset })
  }

  endOffsetAt(atMs: number): number {
    return this.#ends.findLast(end => end.atMs <= atMs)?.endOffset ?? 0
  }

  /** Batches that begin at or above `from` and end below `upTo`. */
  between(from: number, upTo: number): FoundBatch[] {
    const first = this.batches.findLastIndex(batch => batch.baseOffset < from) + 1
    return this.batches.slice(first).filter(batch => batch.lastOffset < upTo)
  }

  /** I1: once each, and none left out. */
  #checkSequence(batch: FoundBatch, journal: ClusterJournal): void {
    const { producerId, producerEpoch, baseSequence, recordCount } = batch
    if (producerId < 0) return
    const before = this.#sequences.get(producerId)
    const expected = before?.epoch === producerEpoch ? before.next : 0
    journal.expect(
      baseSequence === expected && producerEpoch >= (before?.epoch ?? 0),
      () =>
        `I1 offset ${batch.baseOffset} of ${this.name} has sequence ${baseSequence} of producer ${producerId}, not ${expected}`,
    )
    const next = (baseSequence + recordCount) % SEQUENCE_MODULUS
    this.#sequences.set(producerId, { epoch: producerEpoch, next })
  }
}
