import { parseSnapshotFileName } from '../../src/drivers/raft/snapshot-file.ts'
import type { LogPosition } from '../../src/raft/messages.ts'
import type { HardState } from '../../src/raft/raft-options.ts'
import type { SimDiskImage } from './sim-disk-image.ts'
import type { SimFileNode, SimNode } from './sim-disk-names.ts'

interface Batch extends LogPosition {
  readonly endBytes: number
}

interface Scan {
  truncations: number
  readonly batches: Batch[]
}

const NO_STATE = { memberId: '', term: 0, votedFor: undefined }
const DIRECTORY = 'data/raft'
/** Of a batch: base offset 8, length 4, leader epoch 4. An entry is one batch (raft-entry-codec.ts). */
const HEADER_BYTES = 16

/**
 * What the disk of a machine would still know of the metadata quorum after a power cut at this very moment, whatever
 * the cut takes: read behind the back of the node, so that it can be held against what the node says.
 */
export class DurableRaft {
  readonly #image: SimDiskImage
  readonly #scans = new WeakMap<SimFileNode, Scan>()
  readonly #states = new WeakMap<SimFileNode, HardState & { memberId: string }>()

  constructor(image: SimDiskImage) {
    this.#image = image
  }

  get memberId(): string {
    return this.#state.memberId
  }

  get hardState(): HardState {
    return this.#state
  }

  get #state(): HardState & { memberId: string } {
    const node = this.#entries.get('quorum-state')
    if (node?.kind !== 'file') return NO_STATE
    const known = this.#states.get(node)
    if (known) return known
    const { memberId, term, votedFor } = JSON.parse(node.content.read(0, node.content.sizeBytes).toString())
    const state = { memberId, term, votedFor: votedFor ?? undefined }
    this.#states.set(node, state)
    return state
  }

  /** It survives; or a snapshot does that reaches as far. */
  holds({ index, term }: LogPosition): boolean {
    if (this.snapshotIndex >= index) return true
    for (const node of this.#segments(this.#entries)) {
      const { batches } = this.#scan(node)
      const batch = batches[index - (batches[0]?.index ?? 0)]
      if (batch?.index !== index || batch.term !== term) continue
      if (batch.endBytes <= node.content.durableSizeBytes) return true
    }
    return false
  }

  get snapshotIndex(): number {
    let index = 0
    for (const name of this.#entries.keys()) index = Math.max(index, parseSnapshotFileName(name)?.index ?? 0)
    return index
  }

  /** What a process that opens the log now finds, durable or not: the terms of its entries by their index. */
  visibleTerms(): Map<number, number> {
    const terms = new Map<number, number>()
    const directory = this.#image.names.find(DIRECTORY)
    if (directory?.kind !== 'directory') return terms
    for (const node of this.#segments(directory.entries))
      for (const { index, term } of this.#scan(node).batches) terms.set(index, term)
    return terms
  }

  get #entries(): ReadonlyMap<string, SimNode> {
    return this.#image.names.durableEntries(DIRECTORY)
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
    for (let at = scan.batches.at(-1)?.endBytes ?? 0; at + HEADER_BYTES <= content.sizeBytes; ) {
      const header = content.read(at, HEADER_BYTES)
      const endBytes = at + 12 + header.readInt32BE(8)
      if (endBytes > content.sizeBytes || endBytes <= at + HEADER_BYTES) break
      const index = Number(header.readBigInt64BE(0)) + 1
      scan.batches.push({ index, term: header.readInt32BE(12), endBytes })
      at = endBytes
    }
    return scan
  }
}
