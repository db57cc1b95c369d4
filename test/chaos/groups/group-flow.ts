import type { MemberEvent } from './member-process.ts'

interface PartitionTime {
  readonly partition: number
  readonly atMs: number
}

/** Ms between two of a partition, one after the other; of many partitions. */
export interface Gaps {
  /** Between two records as members were given them. */
  readonly givenMs: readonly number[]
  /** Between two records as their producer was told that they are stored: what no member can make up for. */
  readonly acknowledgedMs: readonly number[]
}

/** How the records of a topic came to the members of a group, and who had which partition meanwhile. */
export class GroupFlow {
  readonly #moves: MemberEvent[] = []
  readonly #given: PartitionTime[] = []
  readonly #acknowledged: PartitionTime[] = []
  readonly #givenOnce = new Set<string>()
  #recordCount = 0

  onEvent(event: MemberEvent): void {
    const { what, partition, atMs, offsets = [] } = event
    if (what === 'assigned' || what === 'revoked' || what === 'lost') this.#moves.push(event)
    if (what !== 'records') return
    this.#given.push({ partition, atMs })
    this.#recordCount += offsets.length
    for (const offset of offsets) this.#givenOnce.add(`${partition} ${offset}`)
  }

  onAcknowledged(partition: number): void {
    this.#acknowledged.push({ partition, atMs: performance.now() })
  }

  get recordCount(): number {
    return this.#recordCount
  }

  /** Given out a second time. */
  get repeatedCount(): number {
    return this.#recordCount - this.#givenOnce.size
  }

  /** Partition -> who was last given it, by what members say. */
  get owned(): Map<number, string> {
    const owned = new Map<number, string>()
    for (const { what, partition, member } of this.#moves)
      if (what === 'assigned') owned.set(partition, member)
      else if (owned.get(partition) === member) owned.delete(partition)
    return owned
  }

  /** When another member was given the partition, since then. */
  takenMs(partition: number, from: { member: string; atMs: number }): number | undefined {
    return this.#moves.find(
      event =>
        event.what === 'assigned' &&
        event.partition === partition &&
        event.member !== from.member &&
        event.atMs >= from.atMs,
    )?.atMs
  }

  /** Since then, of the partitions that nobody was given, or gave up, meanwhile. */
  gapsOfUnmoved(sinceMs: number): Gaps {
    const moved = new Set(this.#moves.filter(({ atMs }) => atMs >= sinceMs).map(({ partition }) => partition))
    const gapsIn = (times: readonly PartitionTime[]) => {
      // Nearly in order, as the processes that tell are several.
      const from = times.findLastIndex(({ atMs }) => atMs < sinceMs - 1_000) + 1
      const meant = times
        .slice(from)
        .filter(({ partition, atMs }) => atMs >= sinceMs && !moved.has(partition))
      return gapsBetween(meant.sort((a, b) => a.atMs - b.atMs))
    }
    return { givenMs: gapsIn(this.#given), acknowledgedMs: gapsIn(this.#acknowledged) }
  }
}

function gapsBetween(times: readonly PartitionTime[]): number[] {
  const gaps: number[] = []
  const lastMs = new Map<number, number>()
  for (const { partition, atMs } of times) {
    const beforeMs = lastMs.get(partition)
    if (beforeMs !== undefined) gaps.push(atMs - beforeMs)
    lastMs.set(partition, atMs)
  }
  return gaps
}
