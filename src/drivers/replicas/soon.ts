import type { Clock } from '../../ports/clock.ts'

/** How long a reader waits for a new leader to know where the committed records end. */
const WAIT_MS_MAX = 1_000

/** Resolves when it is so, which is looked at whenever the leader tells its followers of something; rejects if that takes long. */
export async function soon(
  leader: { follow(callback: () => void): () => void },
  of: { readonly clock: Clock; readonly isSo: () => boolean; readonly otherwise: () => Error },
): Promise<void> {
  const { clock, isSo, otherwise } = of
  if (isSo()) return
  await new Promise<void>((resolve, reject) => {
    const stop = leader.follow(() => {
      if (!isSo()) return
      stop()
      timer.cancel()
      resolve()
    })
    const timer = clock.setTimer(WAIT_MS_MAX, () => {
      stop()
      reject(otherwise())
    })
  })
}
