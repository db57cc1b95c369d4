import { encodeMetadataRecord } from '../../src/drivers/controller/metadata-record-codec.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { ClusterJournal } from './cluster-journal.ts'

/** How often an image is compared as a whole: it costs more than all other checks. */
const COMPARED_EVERY = 4

export interface ImageOracleOptions {
  readonly journal: ClusterJournal
  /** Something was done to that node, its controller or the way between, in the last seconds: it may well be fenced. */
  readonly wasDisturbed: (nodeId: number) => boolean
  /** Told of each image that is newer than all before it. */
  readonly onNewest: (image: MetadataImage) => void
}

/**
 * Compares the committed metadata of all nodes: equal index, equal image (R10), whether it came entry by entry or by a
 * snapshot. And what must hold of each: a fenced node leads nothing and is in no ISR (P9), epochs only rise (P12), a node
 * is fenced only when something has happened to it.
 */
export class ClusterImageOracle {
  readonly #options: ImageOracleOptions
  readonly #hashes = new Map<number, { readonly hash: string; readonly who: string }>()
  readonly #endIndexes = new WeakMap<MetadataImage, number>()
  /** Of the newest image seen. */
  #newestIndex = 0
  readonly #nodeEpochs = new Map<number, number>()
  readonly #fencedEpochs = new Map<number, number>()
  readonly #partitionEpochs = new Map<
    string,
    { readonly leaderEpoch: number; readonly partitionEpoch: number }
  >()

  constructor(options: ImageOracleOptions) {
    this.#options = options
  }

  /** Called after each event. */
  look(who: string, image: MetadataImage): void {
    const endIndex = image.appliedEndIndex
    const before = this.#endIndexes.get(image)
    if (endIndex === before || endIndex === 0) return
    this.#endIndexes.set(image, endIndex)
    const { journal } = this.#options
    journal.expect(
      endIndex > (before ?? 0),
      () => `R6 the metadata of ${who} went back from ${before} to ${endIndex}`,
    )
    const isJump = before === undefined || endIndex > before + 1
    if (isJump || endIndex % COMPARED_EVERY === 0) this.compare(who, image)
    if (endIndex <= this.#newestIndex) return
    this.#judge(image)
    this.#options.onNewest(image)
  }

  compare(who: string, image: MetadataImage): void {
    const hash = hashOf(image)
    const known = this.#hashes.get(image.appliedEndIndex)
    if (!known) this.#hashes.set(image.appliedEndIndex, { hash, who })
    else
      this.#options.journal.expect(
        known.hash === hash,
        () => `R10 ${who} and ${known.who} have different metadata up to ${image.appliedEndIndex}`,
      )
  }

  #judge(image: MetadataImage): void {
    this.#newestIndex = image.appliedEndIndex
    const { journal, wasDisturbed } = this.#options
    for (const { nodeId, nodeEpoch, isFenced } of image.nodes.all()) {
      const epoch = this.#nodeEpochs.get(nodeId) ?? 0
      journal.expect(
        nodeEpoch >= epoch,
        () => `the epoch of node ${nodeId} fell from ${epoch} to ${nodeEpoch}`,
      )
      this.#nodeEpochs.set(nodeId, nodeEpoch)
      const wasFenced = this.#fencedEpochs.get(nodeId) === nodeEpoch || nodeEpoch > epoch
      if (isFenced) this.#fencedEpochs.set(nodeId, nodeEpoch)
      else this.#fencedEpochs.delete(nodeId)
      if (!isFenced || wasFenced) continue
      journal.count('nodes fenced')
      journal.tell(`n${nodeId}`, () => `is fenced under epoch ${nodeEpoch}`)
      journal.expect(wasDisturbed(nodeId), () => `node ${nodeId} is fenced, and nothing had happened to it`)
    }
    this.#judgePartitions(image)
  }

  #judgePartitions(image: MetadataImage): void {
    const { journal } = this.#options
    const isFenced = (nodeId: number) => image.nodes.get(nodeId)?.isFenced ?? true
    for (const topic of image.topics.all()) {
      for (const [partition, { leader, isr, leaderEpoch, partitionEpoch }] of topic.partitions()) {
        const name = `${topic.name}-${partition}`
        const leads = leader !== null && isFenced(leader)
        journal.expect(!leads, () => `P9 node ${leader} is fenced and leads ${name}`)
        // The last one stays, so that it can be elected when it is back.
        const stray = isr.length > 1 ? isr.find(isFenced) : undefined
        journal.expect(
          stray === undefined,
          () => `P9 node ${stray} is fenced and in the ISR ${isr} of ${name}`,
        )
        const known = this.#partitionEpochs.get(`${topic.id} ${partition}`)
        const isLater = !known || (leaderEpoch >= known.leaderEpoch && partitionEpoch >= known.partitionEpoch)
        journal.expect(isLater, () => `P12 the epochs of ${name} fell to ${leaderEpoch}/${partitionEpoch}`)
        this.#partitionEpochs.set(`${topic.id} ${partition}`, { leaderEpoch, partitionEpoch })
      }
    }
  }
}

/** Of the snapshot that a node would make of it. */
export function hashOf(image: MetadataImage): string {
  let value = 0x811c9dc5
  for (const record of image.records())
    for (const byte of encodeMetadataRecord(record)) value = Math.imul(value ^ byte, 0x01000193)
  return (value >>> 0).toString(36)
}
