import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync } from 'node:fs'
import { dirname } from 'node:path'
import type { WindowUsage } from '../bench/processor-time.ts'
import type { RoundLine } from '../chaos/round-line.ts'
import type { SeedTotals } from '../sim/seed-table.ts'

interface Portion {
  /** `simulation/201`, `leaders/3`: what is run again under the same name takes its place. */
  readonly name: string
  readonly commit: string
  readonly at: string
  readonly usage: Pick<WindowUsage, 'elapsedMs' | 'busyPercent' | 'stealPercent'>
}

/** Seeds in a row. */
export interface SeedPortion extends Portion {
  readonly kind: 'seeds'
  readonly totals: SeedTotals
}

export interface RoundPortion extends Portion {
  readonly kind: 'round'
  readonly line: RoundLine
}

/** What a portion found was a mistake that is mended: it is told in the report, and the portion is run again. */
export interface Fix {
  readonly kind: 'fix'
  readonly name: string
  readonly how: string
  readonly at: string
}

type Line = SeedPortion | RoundPortion | Fix

/**
 * What was shown so far, portion by portion, as lines of a file: a proof takes hours, and need not have them in one piece. A
 * line is there once its portion is over, whatever came of it; one that was broken off is run again.
 */
export class ProofState {
  readonly #file: string
  readonly #lines: Line[]

  constructor(file: string) {
    this.#file = file
    mkdirSync(dirname(file), { recursive: true })
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    // A line without its end was being written when the program was killed.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    if (whole !== text) truncateSync(file, Buffer.byteLength(whole))
    this.#lines = whole
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Line)
  }

  add(line: Line): void {
    this.#lines.push(line)
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`)
  }

  isDone(name: string): boolean {
    return this.portions.some(one => one.name === name)
  }

  /** Those that count. */
  get portions(): (SeedPortion | RoundPortion)[] {
    const counting = new Map<string, SeedPortion | RoundPortion>()
    for (const line of this.#lines) {
      if (line.kind === 'fix') counting.delete(line.name)
      else counting.set(line.name, line)
    }
    return [...counting.values()]
  }

  get seeds(): SeedPortion[] {
    return this.portions.filter(one => one.kind === 'seeds')
  }

  get rounds(): RoundPortion[] {
    return this.portions.filter(one => one.kind === 'round')
  }

  /** With what each portion had found. */
  get fixes(): { readonly fix: Fix; readonly found: readonly string[] }[] {
    const found = new Map<string, readonly string[]>()
    const fixes: { fix: Fix; found: readonly string[] }[] = []
    for (const line of this.#lines) {
      if (line.kind === 'fix') fixes.push({ fix: line, found: found.get(line.name) ?? [] })
      else found.set(line.name, findingsOf(line))
    }
    return fixes
  }
}

export function findingsOf(portion: SeedPortion | RoundPortion): readonly string[] {
  return portion.kind === 'round'
    ? portion.line.findings
    : portion.totals.failures.map(({ seed, failure }) => `seed ${seed}: ${failure}`)
}
