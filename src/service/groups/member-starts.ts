import type { Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { Backoff } from '../../client/backoff.ts'
import type { PartitionCoordinator } from '../../drivers/groups/coordination.ts'
import type { MemberStream } from '../../groups/group-result.ts'
import type { MembershipPartition, ResolvedStart } from '../../groups/member-control.ts'
import { delay } from '../../ports/clock.ts'
import type { Position } from '../../wire/messages.ts'
import { type Found, positionFinder } from '../list-offsets.ts'
import type { ReadMemory } from '../read-memory.ts'
import type { ServiceNode } from '../service-node.ts'

const PAUSE_MS = { firstMs: 50, maxMs: 2_000 }

interface MemberStartsTarget {
  readonly stream: MemberStream
  readonly coordinator: PartitionCoordinator
  readonly isOver: () => boolean
}

/**
 * Where partitions start for which the group has no offset: found out as the member asked, at their leaders, and
 * committed before the member hears of them (D5). Partitions whose leader does not answer are tried again for as long as the
 * stream lives; the others do not wait for them.
 */
export class MemberStarts {
  readonly #node: ServiceNode
  readonly #target: MemberStartsTarget
  readonly #position: Position
  readonly #find: ReturnType<typeof positionFinder>
  #found: ResolvedStart[] = []

  constructor(
    node: ServiceNode,
    memory: ReadMemory,
    of: { readonly target: MemberStartsTarget; readonly start: Position | undefined },
  ) {
    this.#node = node
    this.#target = of.target
    // What the group has committed would be there already.
    this.#position = of.start === undefined || of.start.at === 'COMMITTED' ? { at: 'EARLIEST' } : of.start
    this.#find = positionFinder(node, memory, { isEntry: true })
  }

  resolve(partitions: readonly MembershipPartition[]): void {
    for (const partition of partitions) void this.#resolve(partition)
  }

  async #resolve({ topic, topicId, partition }: MembershipPartition): Promise<void> {
    const { clock, prng } = this.#node
    const backoff = new Backoff({ prng, ...PAUSE_MS })
    while (!this.#target.isOver()) {
      try {
        const found = await this.#look({ topic, topicId, partition })
        this.#commit({ topicId, partition, nextOffset: found.offset ?? 0, leaderEpoch: null })
        return
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        // Deleted: what becomes of the partition comes by itself. Else nobody would tell the member of it any more.
        if (thrown.reason === 'UNKNOWN_TOPIC') return
        await delay(clock, backoff.nextMs())
      }
    }
  }

  /** An offset that is not there any more, or not yet, stands for the nearest that is. */
  async #look(of: { topic: string; topicId: string; partition: number }): Promise<Pick<Found, 'offset'>> {
    const { topic, topicId, partition } = of
    try {
      return await this.#find({ topic, topicId, position: this.#position }, partition)
    } catch (thrown) {
      const offset = this.#position.offset
      if (offset === undefined || !(thrown instanceof NaruError) || thrown.reason !== 'OFFSET_OUT_OF_RANGE')
        throw thrown
      return { offset: nearest(offset, thrown) }
    }
  }

  /** What one turn brings is one write. */
  #commit(start: ResolvedStart): void {
    this.#found.push(start)
    if (this.#found.length > 1) return
    this.#node.clock.afterTurn(() => {
      const starts = this.#found
      this.#found = []
      void this.#commitAll(starts)
    })
  }

  async #commitAll(starts: readonly ResolvedStart[]): Promise<void> {
    const { stream, coordinator, isOver } = this.#target
    const { clock, prng } = this.#node
    const backoff = new Backoff({ prng, ...PAUSE_MS })
    while (!isOver()) {
      try {
        await coordinator.run((groups, nowMs) => groups.members.commitStarts(stream, starts, nowMs))
        return
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        // Gone, or the coordinator is: the watch says so too.
        if (!thrown.retriable) return
        await delay(clock, backoff.nextMs())
      }
    }
  }
}

function nearest(offset: Offset, { details }: NaruError): Offset {
  const logStartOffset = Number(details['log_start_offset'] ?? 0)
  const highWatermark = Number(details['high_watermark'] ?? logStartOffset)
  return offset < logStartOffset ? logStartOffset : highWatermark
}
