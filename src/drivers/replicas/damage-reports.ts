import type { PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'

export interface DamagedReplica {
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** It is counted on, and cannot be. A report that comes later would take out what has been filled again. */
  readonly isCountedOn: () => boolean
}

/** Resolves once the metadata have the replicas in neither ISR nor ELR. */
export type ReportDamage = (replicas: readonly DamagedReplica[]) => Promise<void>

/** Replicas in one report. */
const REPLICAS_MAX = 1_000
const RETRY_MS = 500

/**
 * Tells the controller of replicas on this node that are damaged (rule B4), again until it has taken them out of what may
 * be elected: a leader that is damaged serves nothing, and only the controller can make another one lead.
 */
export class DamageReports {
  readonly #clock: Clock
  readonly #report: ReportDamage
  readonly #waiting = new Map<string, DamagedReplica>()
  #isReporting = false
  #retry: Timer | undefined
  #isClosed = false

  constructor(options: { clock: Clock; reportDamage: ReportDamage }) {
    this.#clock = options.clock
    this.#report = options.reportDamage
  }

  report(replica: DamagedReplica): void {
    this.#waiting.set(`${replica.topicId} ${replica.partition}`, replica)
    if (!this.#isReporting && !this.#isClosed) void this.#send()
  }

  close(): void {
    this.#isClosed = true
    this.#retry?.cancel()
  }

  async #send(): Promise<void> {
    this.#isReporting = true
    for (const [key, replica] of this.#waiting) if (!replica.isCountedOn()) this.#waiting.delete(key)
    const sent = [...this.#waiting].slice(0, REPLICAS_MAX)
    try {
      if (sent.length > 0) await this.#report(sent.map(([, replica]) => replica))
      for (const [key, replica] of sent) if (this.#waiting.get(key) === replica) this.#waiting.delete(key)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
    }
    if (this.#isClosed || this.#waiting.size === 0) {
      this.#isReporting = false
      return
    }
    this.#retry = this.#clock.setTimer(RETRY_MS, () => void this.#send())
  }
}
