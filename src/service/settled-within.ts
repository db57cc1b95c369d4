import type { Clock } from '../ports/clock.ts'

/** Resolves when the work has settled (well or not) or the time is over; true: it has settled. */
export function settledWithin(clock: Clock, work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  return new Promise(resolve => {
    const timer = clock.setTimer(timeoutMs, () => resolve(false))
    const settled = () => {
      timer.cancel()
      resolve(true)
    }
    work.then(settled, settled)
  })
}
