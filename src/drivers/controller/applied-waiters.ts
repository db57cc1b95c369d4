import type { MetadataIndex } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'

/** Calls that wait for this node to have what another one answered; more are refused. */
const WAITERS_MAX = 10_000

/** Who waits until the image of this node holds everything up to some index. */
export class AppliedWaiters {
  readonly #clock: Clock
  readonly #waiting = new Set<Waiter>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  wait(of: { endIndex: MetadataIndex; appliedEndIndex: MetadataIndex; timeoutMs: number }): Promise<void> {
    const { endIndex, appliedEndIndex, timeoutMs } = of
    if (appliedEndIndex >= endIndex) return Promise.resolve()
    if (this.#waiting.size >= WAITERS_MAX)
      return Promise.reject(
        new NaruError('OVERLOADED', `${WAITERS_MAX} calls wait for the metadata already: try again later`),
      )
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(timeoutMs, () => {
        this.#waiting.delete(waiter)
        reject(
          new NaruError(
            'DEADLINE_EXCEEDED',
            `this node did not get the metadata up to ${endIndex} in ${Math.round(timeoutMs)} ms: try again, or another node`,
          ),
        )
      })
      const waiter: Waiter = { endIndex, timer, resolve, reject }
      this.#waiting.add(waiter)
    })
  }

  onApplied(appliedEndIndex: MetadataIndex): void {
    for (const waiter of this.#waiting) {
      if (waiter.endIndex > appliedEndIndex) continue
      this.#remove(waiter)
      waiter.resolve()
    }
  }

  close(because: NaruError): void {
    for (const waiter of this.#waiting) {
      this.#remove(waiter)
      waiter.reject(because)
    }
  }

  #remove(waiter: Waiter): void {
    waiter.timer.cancel()
    this.#waiting.delete(waiter)
  }
}

interface Waiter {
  readonly endIndex: MetadataIndex
  readonly timer: Timer
  readonly resolve: () => void
  readonly reject: (error: NaruError) => void
}
