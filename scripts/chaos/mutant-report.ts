import { writeFileSync } from 'node:fs'
import { CHAOS_MUTANTS, type ChaosMutant } from '../../test/chaos/mutants/chaos-mutants.ts'
import { keptRows } from '../kept-rows.ts'

/** How a search for one planted bug ended. */
export interface ChaosMutantRow {
  readonly mutant: ChaosMutant
  readonly rounds: number
  /** Names of anomalies; undefined: it was not found. */
  readonly found: string | undefined
  readonly commit: string
}

const HEAD = '| planted bug | what it does | mixture | rounds | commit | found as |'
const MISSED = '**NOT FOUND**'

/** docs/reports/chaos-mutants.md: what was not sought again keeps its row, with the commit that it is of. */
export class ChaosMutantReport {
  readonly #path: string
  readonly #rows: Map<string, string>

  constructor(path: string) {
    this.#path = path
    this.#rows = keptRows(path, { head: HEAD, keyCells: 1 })
  }

  put({ mutant, rounds, found, commit }: ChaosMutantRow): void {
    const cells = [keyOf(mutant), mutant.harm, mutant.mixture, rounds, commit, found ?? MISSED]
    this.#rows.set(keyOf(mutant), `${cells.join(' | ')} |`)
    writeFileSync(this.#path, this.#text())
  }

  #text(): string {
    const rows = CHAOS_MUTANTS.flatMap(mutant => this.#rows.get(keyOf(mutant)) ?? [])
    const missing = CHAOS_MUTANTS.filter(mutant => !this.#rows.has(keyOf(mutant)))
    const found = rows.filter(row => !row.includes(MISSED))
    return `# Bugs planted in real nodes

Written by \`npm run chaos:mutants -- --report\`. Each row is a known mistake, made in a copy of the sources that is built and run as
nodes of the chaos suite; rounds of that mixture, with seeds from 1 on, are counted until one finds that a promise was broken.

${found.length} of ${CHAOS_MUTANTS.length} were found.${missing.length === 0 ? '' : ` Not sought yet: ${missing.map(({ name }) => name).join('; ')}.`}

${HEAD}
|---|---|---|---:|---|---|
${rows.join('\n')}
`
  }
}

function keyOf({ name }: ChaosMutant): string {
  return `| ${name}`
}
