/** Gathers what one step asks of the driver. A message takes the way out that its type prescribes, no other. */
import type { NaruError } from '../base/errors.ts'
import { DEPARTURE, type LogEntry, type LogPosition, type RaftMessage } from './messages.ts'
import type { PersistRequest, RaftEvent, RaftOutput, ReadState } from './raft-output.ts'

export class Outbox {
  #sendNow: RaftMessage[] = []
  #sendAfterPersist: RaftMessage[] = []
  #readStates: ReadState[] = []
  #events: RaftEvent[] = []
  #accepted: LogPosition | undefined
  #refusal: NaruError | undefined

  send(message: RaftMessage): void {
    const queue = DEPARTURE[message.type] === 'now' ? this.#sendNow : this.#sendAfterPersist
    queue.push(message)
  }

  answerRead(state: ReadState): void {
    this.#readStates.push(state)
  }

  tell(event: RaftEvent): void {
    this.#events.push(event)
  }

  accept(position: LogPosition): void {
    this.#accepted = position
  }

  refuse(error: NaruError): void {
    this.#refusal = error
  }

  take(rest: { persist: PersistRequest | undefined; committed: LogEntry[] }): RaftOutput {
    const output: RaftOutput = {
      sendNow: this.#sendNow,
      persist: rest.persist,
      sendAfterPersist: this.#sendAfterPersist,
      committed: rest.committed,
      readStates: this.#readStates,
      accepted: this.#accepted,
      refusal: this.#refusal,
      events: this.#events,
    }
    this.#sendNow = []
    this.#sendAfterPersist = []
    this.#readStates = []
    this.#events = []
    this.#accepted = undefined
    this.#refusal = undefined
    return output
  }
}
