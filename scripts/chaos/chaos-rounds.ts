import { appendFileSync, readdirSync, rmdirSync } from 'node:fs'
import { SingleBar } from 'cli-progress'
import { type MachineTools, prepareTools } from '../../test/chaos/machine/machine-tools.ts'
import { MIXTURES, mixtureNamed } from '../../test/chaos/mixtures.ts'
import { type RoundResult, runRound } from '../../test/chaos/round.ts'
import { atExit } from '../bench/child-processes.ts'
import { roundLine } from './round-line.ts'

export interface ChaosRoundsOptions {
  /** Of the first round; each one after has the next. */
  readonly seed: number
  /** Names of mixtures. Default: all. */
  readonly only?: readonly string[] | undefined
  readonly rounds: number
  /** Instead of a number of rounds. */
  readonly minutes?: number | undefined
  /** Of each mixture. */
  readonly seconds: number
  readonly withoutRoot?: boolean | undefined
  readonly findingsDirectory: string
  /** What each came to is appended to it, as a line of JSON. */
  readonly results?: string | undefined
  /** Another build: its `bin/naru.js`. */
  readonly program?: string | undefined
}

/** Mixture after mixture on this machine, which is left as it was found: also when the process is told to end. */
export class ChaosRounds {
  leftOut: readonly string[] = []
  readonly #options: ChaosRoundsOptions

  constructor(options: ChaosRoundsOptions) {
    this.#options = options
  }

  async run(): Promise<RoundResult[]> {
    const { only, seed, rounds, minutes, withoutRoot = false, findingsDirectory } = this.#options
    const mixtures = only === undefined ? MIXTURES : only.map(mixtureNamed)
    let tools = await prepareTools({ withoutRoot })
    this.leftOut = tools.leftOut
    const forget = atExit(() => tools.remove())
    const results: RoundResult[] = []
    const endMs = performance.now() + (minutes ?? 0) * 60_000
    try {
      for (let round = 0; minutes === undefined ? round < rounds : performance.now() < endMs; round++)
        for (const mixture of mixtures) {
          if (minutes !== undefined && performance.now() >= endMs) break
          const result = await this.#one(tools, mixture, seed + round)
          results.push(result)
          this.#keep(result)
          if (result.verdict !== undefined) continue
          // It may have left something behind that is in the way of the next one.
          tools.remove()
          tools = await prepareTools({ withoutRoot })
        }
    } finally {
      tools.remove()
      forget()
    }
    // Nothing was kept there.
    if (readdirSync(findingsDirectory).length === 0) rmdirSync(findingsDirectory)
    return results
  }

  #keep(result: RoundResult): void {
    const { results } = this.#options
    if (results !== undefined) appendFileSync(results, `${JSON.stringify(roundLine(result, this.leftOut))}\n`)
  }

  async #one(tools: MachineTools, mixture: (typeof MIXTURES)[number], seed: number): Promise<RoundResult> {
    const { seconds, findingsDirectory, program } = this.#options
    const label = `${mixture.name} (seed ${seed})`
    const bar = new SingleBar({
      format: `${label.padEnd(24)} [{bar}] {value}/{total} s`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
    })
    if (process.stderr.isTTY) bar.start(seconds, 0)
    const timer = setInterval(() => bar.increment(), 1_000)
    try {
      const result = await runRound({
        tools,
        mixture,
        seed,
        durationMs: seconds * 1_000,
        findingsDirectory,
        program,
      })
      const { findings, verdict, elapsedMs } = result
      const outcome = findings.length === 0 ? 'ok' : `${findings.length} FINDINGS`
      console.error(
        `${label}: ${outcome}, ${verdict?.sends.ok ?? 0} records, ${(elapsedMs / 1000).toFixed(0)} s`,
      )
      return result
    } finally {
      clearInterval(timer)
      bar.stop()
    }
  }
}
