import { writeFileSync } from 'node:fs'
import { PLANTED_BUGS, type PlantedIn } from '../../test/sim/mutants/planted-bugs.ts'
import { keptRows } from '../kept-rows.ts'

/** How a search for one planted bug ended. */
export interface MutantRow {
  readonly bug: PlantedIn
  /** Seeds until it was found. */
  readonly seeds: string
  readonly isAsItShould: boolean
  readonly commit: string
  readonly breach: string
}

const HEAD = '| simulation | planted bug | seeds | commit | found as |'
const WRONG = ' **NOT AS IT SHOULD BE**'

/**
 * docs/reports/mutants.md: what was found of all that can be planted. A search takes hours, and need not be made in one
 * piece: what was not sought again keeps its row, with the commit that it is of.
 */
export class MutantReport {
  readonly #path: string
  readonly #rows: Map<string, string>

  constructor(path: string) {
    this.#path = path
    this.#rows = keptRows(path, { head: HEAD, keyCells: 2 })
  }

  put({ bug, seeds, isAsItShould, commit, breach }: MutantRow): void {
    const found = breach.replaceAll('|', '\\|')
    this.#rows.set(
      keyOf(bug),
      `${keyOf(bug)} | ${seeds}${isAsItShould ? '' : WRONG} | ${commit} | ${found} |`,
    )
    writeFileSync(this.#path, this.#text())
  }

  #text(): string {
    const rows = PLANTED_BUGS.flatMap(bug => this.#rows.get(keyOf(bug)) ?? [])
    const missing = PLANTED_BUGS.filter(bug => !this.#rows.has(keyOf(bug)))
    const right = rows.filter(row => !row.includes(WRONG))
    return `# Planted bugs

Written by \`npm run sim:mutants -- --report\`. Each row is a known mistake, made in a copy of the sources; seeds are counted from 1 until
the simulation fails, and the seed that does passes without the mistake: one that does not is named, as a bug of its own, and passed over. "cluster" and "members" run whole nodes (test/sim), the others the pure
core of that name by itself. One canary must be found at once, one holds no mistake and must not be found.

${right.length} of ${PLANTED_BUGS.length} are as they should be.${missing.length === 0 ? '' : ` Not sought yet: ${missing.map(({ simulation, name }) => `${simulation}: ${name}`).join('; ')}.`}

${HEAD}
|---|---|---:|---|---|
${rows.join('\n')}
`
  }
}

function keyOf({ simulation, name }: PlantedIn): string {
  return `| ${simulation} | ${name}`
}
