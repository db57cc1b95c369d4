import { NaruError } from '../../base/errors.ts'
import type { LogEntry, LogPosition } from '../../raft/messages.ts'

/**
 * Proposals of this member that wait for their outcome, by index. Bounded by the core's limit of uncommitted bytes.
 * Invariant: what waits was accepted in the term that this member leads, and is not committed.
 */
export class PendingProposals {
  readonly #waiting = new Map<number, Waiting>()

  wait(position: LogPosition): Promise<LogPosition> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(position.index, { position, resolve, reject })
    })
  }

  onCommitted({ index, term }: LogEntry): void {
    const waiting = this.#waiting.get(index)
    if (!waiting) return
    this.#waiting.delete(index)
    if (waiting.position.term === term) waiting.resolve(waiting.position)
    else waiting.reject(replaced(waiting.position))
  }

  /** They may yet be committed, by the next leader. */
  resign(reason: string): void {
    for (const { reject } of this.#waiting.values()) {
      reject(
        new NaruError(
          'UNKNOWN_OUTCOME',
          `the leadership of the metadata quorum ended (${reason}) before the commit`,
        ),
      )
    }
    this.#waiting.clear()
  }
}

interface Waiting {
  readonly position: LogPosition
  readonly resolve: (position: LogPosition) => void
  readonly reject: (error: NaruError) => void
}

function replaced({ index }: LogPosition): NaruError {
  return new NaruError('NOT_CONTROLLER', `another leader has put its own entry at ${index}: try again`, {
    outcome: 'none',
  })
}
