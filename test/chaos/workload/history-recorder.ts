import type { Completion, HistoryEvent, Invocation } from '../checker/history.ts'

type Begin = Omit<Invocation, 'id' | 'type' | 'timeMs'>
type End = Omit<Completion, 'id' | 'timeMs'>

export interface RecorderOptions {
  /** Of the first operation: histories of several processes are put together. */
  readonly firstId?: number
  /** As performance.now() of the process whose history it becomes part of. */
  readonly now?: () => number
  /** Told each event as it happens. */
  readonly onEvent?: (event: HistoryEvent) => void
}

/** Events of all clients of one process, by one clock. */
export class HistoryRecorder {
  readonly events: HistoryEvent[] = []
  readonly #now: () => number
  readonly #onEvent: (event: HistoryEvent) => void
  #nextId: number

  constructor({ firstId = 0, now = () => performance.now(), onEvent = () => {} }: RecorderOptions = {}) {
    this.#nextId = firstId
    this.#now = now
    this.#onEvent = onEvent
  }

  /** Returns what is to be called when the operation has ended. */
  begin(operation: Begin, atMs = this.#now()): (end: End, atMs?: number) => void {
    const id = this.#nextId++
    this.#add({ ...operation, id, type: 'invoke', timeMs: atMs })
    return (end, endMs = this.#now()) => this.#add({ ...end, id, timeMs: endMs })
  }

  now(): number {
    return this.#now()
  }

  /** Takes over what another recorder has written. */
  add(events: readonly HistoryEvent[]): void {
    for (const event of events) this.events.push(event)
  }

  #add(event: HistoryEvent): void {
    this.events.push(event)
    this.#onEvent(event)
  }

  /** As `parseHistory` reads it. */
  text(): string {
    return this.events.map(event => `${JSON.stringify(event)}\n`).join('')
  }
}
