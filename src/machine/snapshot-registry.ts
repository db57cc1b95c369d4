import { assert } from '../base/assert.ts'

/**
 * Points in the past to which a group of timeline structures (`TimelineMap`, `TimelineValue`) can go back.
 * Taking one costs nothing: from then on each structure notes, at its first change of an entry, what was there.
 * The algorithm is that of Kafka's `org.apache.kafka.timeline`, less its reads of the past: who must see only
 * committed state waits for the commit (`MachineRuntime`) or keeps an image of its own.
 *
 * Driven by `MachineRuntime`. `endIndex` is the exclusive end of the log whose records made the state.
 * Invariant: snapshots are held in rising order of `endIndex`; changes are noted in the newest one only.
 */
export class SnapshotRegistry {
  readonly #snapshots: Snapshot[] = []

  /** Makes the present state one to come back to. A second one of the same `endIndex` is the same. */
  take(endIndex: number): void {
    const newest = this.#snapshots.at(-1)
    if (newest?.endIndex === endIndex) {
      assert(newest.undos.size === 0, `state changed at ${endIndex} without a record`)
      return
    }
    assert(
      newest === undefined || newest.endIndex < endIndex,
      `snapshot of ${endIndex} after ${newest?.endIndex}`,
    )
    this.#snapshots.push({ endIndex, undos: new Map() })
  }

  /** Goes back to the newest snapshot of `endIndex` or below; it stays, newer ones go. */
  revertTo(endIndex: number): void {
    for (let newest = this.#snapshots.at(-1); newest !== undefined; newest = this.#snapshots.at(-1)) {
      for (const undo of newest.undos.values()) undo.revert()
      newest.undos.clear()
      if (newest.endIndex <= endIndex) return
      this.#snapshots.pop()
    }
    assert(false, `no snapshot of ${endIndex} or below to go back to`)
  }

  /** There is no way back from here on to before the newest snapshot of `endIndex` or below. */
  forgetBelow(endIndex: number): void {
    let floor = 0
    while ((this.#snapshots[floor + 1]?.endIndex ?? Number.POSITIVE_INFINITY) <= endIndex) floor++
    this.#snapshots.splice(0, floor)
  }

  /** There is no way back at all, and no change is noted until the next `take`. */
  forgetAll(): void {
    this.#snapshots.length = 0
  }

  get count(): number {
    return this.#snapshots.length
  }

  /** Where `owner` notes what it is about to change: one note per owner and snapshot; undefined: not needed. */
  undoOf<U extends Undo>(owner: object, make: () => U): U | undefined {
    const newest = this.#snapshots.at(-1)
    if (newest === undefined) return undefined
    let undo = newest.undos.get(owner)
    if (undo === undefined) {
      undo = make()
      newest.undos.set(owner, undo)
    }
    // Each owner makes notes of one kind only.
    return undo as U
  }
}

export interface Undo {
  revert(): void
}

interface Snapshot {
  readonly endIndex: number
  readonly undos: Map<object, Undo>
}
