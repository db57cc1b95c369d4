import type { AnomalyList } from './anomalies.ts'
import { isRead, type Operation } from './history.ts'

interface Sighting {
  readonly value: string
  readonly operation: Operation
}

/**
 * The order of one partition's values, from every answer that names an offset. A value's index counts the offsets before its
 * own that anybody knows of, so that offsets nobody used leave no gap.
 */
export class VersionOrder {
  /** Rising. */
  readonly offsets: readonly number[]
  /** The last index whose place in the order some read has shown to be passed; -1: nothing was read. */
  readonly lastReadIndex: number
  readonly #at = new Map<number, Sighting>()
  readonly #placesOf = new Map<string, number[]>()
  readonly #writers = new Map<string, Operation>()
  readonly #firstReads = new Map<string, Operation>()
  readonly #indexes = new Map<number, number>()

  constructor(partition: string, operations: readonly Operation[], anomalies: AnomalyList) {
    for (const one of operations) {
      if (one.op === 'send') for (const value of one.values) this.#writers.set(value, one)
      if (one.outcome !== 'ok' || (one.op !== 'send' && !isRead(one))) continue
      for (const [at, offset] of one.offsets.entries()) {
        const value = one.values[at] as string
        if (one.op !== 'send' && !this.#firstReads.has(value)) this.#firstReads.set(value, one)
        this.#see(partition, offset, { value, operation: one }, anomalies)
      }
    }
    this.offsets = [...this.#at.keys()].sort((a, b) => a - b)
    for (const [index, offset] of this.offsets.entries()) this.#indexes.set(offset, index)
    let lastReadIndex = -1
    for (const value of this.#firstReads.keys())
      lastReadIndex = Math.max(lastReadIndex, this.firstIndexOf(value) ?? -1)
    this.lastReadIndex = lastReadIndex
  }

  /** Everything that was sent, with its sender. */
  get writers(): ReadonlyMap<string, Operation> {
    return this.#writers
  }

  /** Everything that was read, with its first reader. */
  get firstReads(): ReadonlyMap<string, Operation> {
    return this.#firstReads
  }

  /** Offsets of a value, in the order in which they were seen. */
  placesOf(value: string): readonly number[] {
    return this.#placesOf.get(value) ?? []
  }

  valuesWithPlaces(): Iterable<[string, readonly number[]]> {
    return this.#placesOf
  }

  at(offset: number): Sighting | undefined {
    return this.#at.get(offset)
  }

  indexOf(offset: number): number {
    return this.#indexes.get(offset) as number
  }

  firstIndexOf(value: string): number | undefined {
    const places = this.#placesOf.get(value)
    return places && this.indexOf(places.length === 1 ? (places[0] as number) : Math.min(...places))
  }

  lastIndexOf(value: string): number | undefined {
    const places = this.#placesOf.get(value)
    return places && this.indexOf(places.length === 1 ? (places[0] as number) : Math.max(...places))
  }

  /** Index of the first value at this offset or later. */
  indexFrom(offset: number): number {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.offsets[middle] as number) < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Where a send's value lies: as it was answered, or as some read has shown. */
  offsetOf(send: Operation, at: number): number | undefined {
    return send.offsets[at] ?? this.#placesOf.get(send.values[at] as string)?.[0]
  }

  #see(partition: string, offset: number, sighting: Sighting, anomalies: AnomalyList): void {
    const { value, operation } = sighting
    const known = this.#at.get(offset)
    if (known === undefined) this.#at.set(offset, sighting)
    else if (known.value !== value) {
      const what = `offset ${offset} holds ${known.value} and ${value}`
      anomalies.add('inconsistent-offsets', partition, what, [
        known.operation,
        operation,
        this.#writers.get(known.value),
        this.#writers.get(value),
      ])
    }
    const places = this.#placesOf.get(value)
    if (places === undefined) this.#placesOf.set(value, [offset])
    else if (!places.includes(offset)) places.push(offset)
  }
}
