import type { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'

/** What the promise settles to, or the error once `timeoutMs` have passed. */
export function within<T>(
  clock: Clock,
  promise: Promise<T>,
  late: { readonly timeoutMs: number; readonly error: () => NaruError },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(Math.max(0, late.timeoutMs), () => reject(late.error()))
    promise.finally(() => timer.cancel()).then(resolve, reject)
  })
}
