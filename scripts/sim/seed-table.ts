import Table from 'cli-table3'
import type { SeedAnswer } from './seed-pool.ts'

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
