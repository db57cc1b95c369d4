/** What a simulated cluster went through: the first breach, how often what happened, and, when asked for, a trace. */
export class ClusterJournal {
  readonly counts = new Map<string, number>()
  readonly trace: string[] = []
  failure: Error | undefined
  readonly #nowMs: () => number
  readonly #isTracing: boolean

  constructor(nowMs: () => number, isTracing: boolean) {
    this.#nowMs = nowMs
    this.#isTracing = isTracing
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by)
  }

  /** `text` is only made where somebody reads it. */
  tell(who: string, text: () => string): void {
    if (this.#isTracing)
      this.trace.push(`${this.#nowMs().toFixed(3).padStart(12)} ${who.padEnd(4)} ${text()}`)
  }

  /**
   * Kept until the event is over: what a probe throws goes through the broker's own code, which may well swallow it.
   * The first one is the cause.
   */
  fail(thrown: unknown): void {
    if (this.failure) return
    this.failure = thrown instanceof Error ? thrown : new Error(String(thrown))
    this.tell('!!', () => this.failure?.message ?? '')
  }

  expect(condition: boolean, message: () => string): void {
    if (!condition) this.fail(new ClusterBreach(message()))
  }
}

export class ClusterBreach extends Error {
  override readonly name = 'ClusterBreach'
}
