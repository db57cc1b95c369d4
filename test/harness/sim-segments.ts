import {
  BATCH_OVERHEAD,
  baseOffsetAt,
  baseSequenceAt,
  crcAt,
  lastOffsetAt,
  leaderEpochAt,
  producerEpochAt,
  producerIdAt,
  recordCountAt,
  sizeInBytesAt,
} from '../../src/records/batch-header.ts'
import type { SimDiskImage } from './sim-disk-image.ts'
import type { SimFileNode, SimNode } from './sim-disk-names.ts'

/** A batch as its header in a file says it. */
export interface FoundBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly leaderEpoch: number
  /** Of its records, so that equal ones have equal records. */
  readonly crc: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
  /** In the file, exclusive. */
  readonly endBytes: number
}

interface Scan {
  truncations: number
  readonly batches: FoundBatch[]
}

/**
 * The segments of one log on the disk of a simulated machine, read behind the back of the node, so that they can be held
 * against what the node says. What was scanned once is not scanned again until the file is cut.
 */
export class SimSegments {
  readonly #image: SimDiskImage
  readonly #directory: string
  readonly #scans = new WeakMap<SimFileNode, Scan>()

  constructor(image: SimDiskImage, directory: string) {
    this.#image = image
    this.#directory = directory
  }

  /** What a process that opens the log now finds, durable or not. */
  *visible(): Iterable<FoundBatch> {
    for (const node of this.#segments(this.#visibleEntries())) yield* this.#scan(node).batches
  }

  /** It is there; `durably`: also after a power cut at this very moment, whatever the cut takes. */
  holds(batch: FoundBatch, { durably }: { readonly durably: boolean }): boolean {
    const found = this.at(batch.baseOffset, { durably })
    return found !== undefined && isSameBatch(found, batch)
  }

  /** The batch that begins there. */
  at(baseOffset: number, { durably }: { readonly durably: boolean }): FoundBatch | undefined {
    const entries = durably ? this.#image.names.durableEntries(this.#directory) : this.#visibleEntries()
    let found: { readonly batch: FoundBatch; readonly node: SimFileNode } | undefined
    for (const node of this.#segments(entries)) {
      const batch = search(this.#scan(node).batches, baseOffset)
      if (batch) found = { batch, node }
    }
    if (!found || (durably && found.batch.endBytes > found.node.content.durableSizeBytes)) return undefined
    return found.batch
  }

  #visibleEntries(): ReadonlyMap<string, SimNode> {
    const directory = this.#image.names.find(this.#directory)
    return directory?.kind === 'directory' ? directory.entries : NO_ENTRIES
  }

  *#segments(entries: ReadonlyMap<string, SimNode>): Iterable<SimFileNode> {
    const names = [...entries.keys()].filter(name => /^\d{20}\.log$/.test(name)).sort()
    for (const name of names) {
      const node = entries.get(name)
      if (node?.kind === 'file') yield node
    }
  }

  #scan(node: SimFileNode): Scan {
    const { content } = node
    let scan = this.#scans.get(node)
    if (scan?.truncations !== content.truncations) {
      scan = { truncations: content.truncations, batches: [] }
      this.#scans.set(node, scan)
    }
    for (let at = scan.batches.at(-1)?.endBytes ?? 0; at + BATCH_OVERHEAD <= content.sizeBytes; ) {
      const header = content.read(at, BATCH_OVERHEAD)
      const sizeInBytes = sizeInBytesAt(header, 0)
      const endBytes = at + sizeInBytes
      if (sizeInBytes < BATCH_OVERHEAD || endBytes > content.sizeBytes) break
      scan.batches.push(batchOf(header, endBytes))
      at = endBytes
    }
    return scan
  }
}

export function isSameBatch(a: FoundBatch, b: FoundBatch): boolean {
  return (
    a.baseOffset === b.baseOffset &&
    a.lastOffset === b.lastOffset &&
    a.leaderEpoch === b.leaderEpoch &&
    a.crc === b.crc
  )
}

function batchOf(header: Buffer, endBytes: number): FoundBatch {
  return {
    baseOffset: baseOffsetAt(header, 0),
    lastOffset: lastOffsetAt(header, 0),
    leaderEpoch: leaderEpochAt(header, 0),
    crc: crcAt(header, 0),
    producerId: producerIdAt(header, 0),
    producerEpoch: producerEpochAt(header, 0),
    baseSequence: baseSequenceAt(header, 0),
    recordCount: recordCountAt(header, 0),
    endBytes,
  }
}

function search(batches: readonly FoundBatch[], baseOffset: number): FoundBatch | undefined {
  let low = 0
  let high = batches.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((batches[middle]?.baseOffset ?? 0) < baseOffset) low = middle + 1
    else high = middle
  }
  return batches[low]?.baseOffset === baseOffset ? batches[low] : undefined
}

const NO_ENTRIES: ReadonlyMap<string, SimNode> = new Map()
