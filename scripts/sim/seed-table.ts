import Table from 'cli-table3'
import type { SeedAnswer } from './seed-pool.ts'

/** A table as it is kept in a file. */
export interface SeedTotals {
  readonly seeds: number
  readonly simulatedMs: number
  readonly events: number
  readonly counts: readonly (readonly [what: string, total: number, seeds: number])[]
  readonly failures: readonly { readonly seed: number; readonly failure: string }[]
}

/** What the seeds of a run went through, added up. */
export class SeedTable {
  readonly failures: SeedAnswer[] = []
  seeds = 0
  simulatedMs = 0
  events = 0
  readonly #counts = new Map<string, { total: number; seeds: number }>()

  add(answer: SeedAnswer): void {
    this.seeds++
    this.simulatedMs += answer.simulatedMs
    this.events += answer.events
    if (answer.failure !== undefined) this.failures.push(answer)
    for (const [what, count] of answer.counts) {
      const known = this.#counts.get(what) ?? { total: 0, seeds: 0 }
      this.#counts.set(what, { total: known.total + count, seeds: known.seeds + 1 })
    }
  }

  addAll({ seeds, simulatedMs, events, counts, failures }: SeedTotals): void {
    this.seeds += seeds
    this.simulatedMs += simulatedMs
    this.events += events
    for (const [what, total, inSeeds] of counts) {
      const known = this.#counts.get(what) ?? { total: 0, seeds: 0 }
      this.#counts.set(what, { total: known.total + total, seeds: known.seeds + inSeeds })
    }
    const nothing = { counts: [], trace: [], simulatedMs: 0, events: 0 }
    for (const one of failures) this.failures.push({ ...nothing, ...one })
  }

  totals(): SeedTotals {
    const { seeds, simulatedMs, events, counts } = this
    const failures = this.failures.map(({ seed, failure = '' }) => ({ seed, failure }))
    return { seeds, simulatedMs, events, counts, failures }
  }

  /** How often it happened, in all seeds. */
  countOf(what: string): number {
    return this.#counts.get(what)?.total ?? 0
  }

  /** By name: how often, and in how many seeds. */
  get counts(): readonly (readonly [what: string, total: number, seeds: number])[] {
    const sorted = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))
    return sorted.map(([what, { total, seeds }]) => [what, total, seeds])
  }

  toString(): string {
    const table = new Table({
      head: ['what happened', 'times', 'in seeds'],
      colAligns: ['left', 'right', 'right'],
      chars: NO_LINES,
      style: { head: [], border: [] },
    })
    for (const row of this.counts) table.push([...row])
    return table.toString()
  }

  /** Each failing seed with the command that runs it again. */
  failuresText(command: string): string {
    const lines = this.failures
      .sort((a, b) => a.seed - b.seed)
      .map(({ seed, failure }) => `seed ${seed}: ${failure}\n  again: ${command} --seed ${seed} --trace`)
    return lines.join('\n')
  }
}

const NO_LINES = Object.fromEntries(
  [
    'top',
    'bottom',
    'left',
    'right',
    'mid',
    'left-mid',
    'mid-mid',
    'right-mid',
    'top-mid',
    'top-left',
    'top-right',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'middle',
  ].map(part => [part, '']),
)
