import { parseSnapshotFileName } from '../../src/drivers/raft/snapshot-file.ts'
import type { LogPosition } from '../../src/raft/messages.ts'
import type { HardState } from '../../src/raft/raft-options.ts'
import type { SimDiskImage } from './sim-disk-image.ts'
import type { SimFileNode, SimNode } from './sim-disk-names.ts'
import { SimSegments } from './sim-segments.ts'

const NO_STATE = { memberId: '', term: 0, votedFor: undefined }
const DIRECTORY = 'data/raft'

/**
 * What the disk of a machine would still know of the metadata quorum after a power cut at this very moment, whatever
 * the cut takes: read behind the back of the node, so that it can be held against what the node says.
 */
export class DurableRaft {
  readonly #image: SimDiskImage
  /** An entry is one batch (raft-entry-codec.ts). */
  readonly #segments: SimSegments
  readonly #states = new WeakMap<SimFileNode, HardState & { memberId: string }>()

  constructor(image: SimDiskImage) {
    this.#image = image
    this.#segments = new SimSegments(image, DIRECTORY)
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
    return this.#segments.at(index - 1, { durably: true })?.leaderEpoch === term
  }

  get snapshotIndex(): number {
    let index = 0
    for (const name of this.#entries.keys()) index = Math.max(index, parseSnapshotFileName(name)?.index ?? 0)
    return index
  }

  /** What a process that opens the log now finds, durable or not: the terms of its entries by their index. */
  visibleTerms(): Map<number, number> {
    const terms = new Map<number, number>()
    for (const { baseOffset, leaderEpoch } of this.#segments.visible()) terms.set(baseOffset + 1, leaderEpoch)
    return terms
  }

  get #entries(): ReadonlyMap<string, SimNode> {
    return this.#image.names.durableEntries(DIRECTORY)
  }
}
