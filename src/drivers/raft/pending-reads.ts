import { NaruError } from '../../base/errors.ts'

/**
 * Reads that wait: first for the index that the quorum confirms, then until the owner has applied that much.
 * Bounded by the core's `readsMax`, which aborts what is above it; those that wait to be applied are as many at most.
 */
export class PendingReads {
  readonly #asked = new Map<number, Waiting>()
  #confirmed: (Waiting & { readonly index: number })[] = []
  #lastTicket = 0

  ask(): { ticket: number; index: Promise<number> } {
    this.#lastTicket++
    const ticket = this.#lastTicket
    const index = new Promise<number>((resolve, reject) => {
      this.#asked.set(ticket, { resolve, reject })
    })
    return { ticket, index }
  }

  confirm({ ticket, index }: { ticket: number; index: number }): void {
    const waiting = this.#asked.get(ticket)
    if (!waiting) return
    this.#asked.delete(ticket)
    this.#confirmed.push({ ...waiting, index })
  }

  abort(tickets: readonly number[], reason: string): void {
    for (const ticket of tickets) {
      this.#asked.get(ticket)?.reject(aborted(reason))
      this.#asked.delete(ticket)
    }
  }

  onApplied(appliedIndex: number): void {
    if (this.#confirmed.length === 0) return
    const done = this.#confirmed.filter(({ index }) => index <= appliedIndex)
    this.#confirmed = this.#confirmed.filter(({ index }) => index > appliedIndex)
    for (const { resolve, index } of done) resolve(index)
  }

  close(reason: string): void {
    for (const { reject } of [...this.#asked.values(), ...this.#confirmed]) reject(aborted(reason))
    this.#asked.clear()
    this.#confirmed = []
  }
}

interface Waiting {
  readonly resolve: (index: number) => void
  readonly reject: (error: NaruError) => void
}

function aborted(reason: string): NaruError {
  return new NaruError('NOT_CONTROLLER', `the metadata quorum confirms no read now (${reason}): try again`)
}
