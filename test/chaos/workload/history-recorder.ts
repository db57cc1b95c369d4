import type { Completion, HistoryEvent, Invocation } from '../checker/history.ts'

type Begin = Omit<Invocation, 'id' | 'type' | 'timeMs'>
type End = Omit<Completion, 'id' | 'timeMs'>

/** Events of all clients of one process, by one clock. */
export class HistoryRecorder {
  readonly events: HistoryEvent[] = []
  #nextId = 0

  /** Returns what is to be called when the operation has ended. */
  begin(operation: Begin, atMs = performance.now()): (end: End) => void {
    const id = this.#nextId++
    this.events.push({ ...operation, id, type: 'invoke', timeMs: atMs })
    return end => this.events.push({ ...end, id, timeMs: performance.now() })
  }

  /** As `parseHistory` reads it. */
  text(): string {
    return this.events.map(event => `${JSON.stringify(event)}\n`).join('')
  }
}
