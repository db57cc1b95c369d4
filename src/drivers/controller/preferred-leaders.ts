import type { MetadataIndex } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { partitionsLedElsewhere } from '../../metadata/leader-control.ts'
import type { PartitionPlace } from '../../metadata/reassignment-control.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'

export interface PreferredLeadersOptions {
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  readonly logger: Logger
  /** Resolves when it is committed, with how many of them now lead as preferred. */
  readonly elect: (places: readonly PartitionPlace[]) => Promise<number>
  readonly limits?: Partial<PreferredLeadersLimits>
}

export interface PreferredLeadersLimits {
  readonly intervalMs: number
  /**
   * How long the preferred leader must have been ready without a break. A leader that sees it hands over by itself, when
   * all that it has is committed (`IsrChange.successorId`), so that no write is left in doubt; this is for leaders that
   * could not for long.
   */
  readonly readyMs: number
  /** Elections in one interval: each moves the clients of a partition. */
  readonly electionsMax: number
}

const LIMITS: PreferredLeadersLimits = { intervalMs: 1000, readyMs: 20_000, electionsMax: 20 }

/**
 * Brings leaderships back to the first replicas, at a bounded pace, for one leadership of the controller: else all that a
 * restarted node led stays with the others, and the cluster leans further with each restart.
 */
export class PreferredLeaders {
  readonly #options: PreferredLeadersOptions
  readonly #limits: PreferredLeadersLimits
  /** By partition: since when its preferred leader could lead and did not. */
  #readySinceMs = new Map<string, number>()
  /** Of metadata in which all preferred leaders lead: there is nothing to look for until they change. */
  #settledIndex: MetadataIndex | undefined
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: PreferredLeadersOptions) {
    this.#options = options
    this.#limits = { ...LIMITS, ...options.limits }
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #schedule(): void {
    this.#timer = this.#options.clock.setTick(this.#limits.intervalMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    const due = this.#due()
    if (due.length > 0) await this.#elect(due)
    if (!this.#isStopped) this.#schedule()
  }

  #due(): PartitionPlace[] {
    const { quorum, clock } = this.#options
    const { readyMs, electionsMax } = this.#limits
    const { appliedEndIndex } = quorum.image
    if (appliedEndIndex === this.#settledIndex) return []
    const nowMs = clock.monotonicMs()
    const before = this.#readySinceMs
    this.#readySinceMs = new Map()
    const due: PartitionPlace[] = []
    for (const { topic, partition } of partitionsLedElsewhere(quorum.image)) {
      const key = `${topic.id} ${partition}`
      const sinceMs = before.get(key) ?? nowMs
      this.#readySinceMs.set(key, sinceMs)
      if (nowMs - sinceMs >= readyMs && due.length < electionsMax)
        due.push({ topic: topic.name, topicId: topic.id, partition })
    }
    if (this.#readySinceMs.size === 0) this.#settledIndex = appliedEndIndex
    return due
  }

  async #elect(due: readonly PartitionPlace[]): Promise<void> {
    const { logger, elect } = this.#options
    try {
      const partitions = await elect(due)
      if (partitions > 0) logger.info({ partitions }, 'leaderships are back with the preferred leaders')
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (!this.#isStopped)
        logger.warn({ reason: thrown.reason }, `preferred leaders were not elected: ${thrown.message}`)
    }
  }
}
