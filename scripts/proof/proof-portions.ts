import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mixtureNamed } from '../../test/chaos/mixtures.ts'
import { atExit, REPOSITORY } from '../bench/child-processes.ts'
import { commitName } from '../bench/machine-facts.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import type { RoundLine } from '../chaos/round-line.ts'
import type { SeedTotals } from '../sim/seed-table.ts'
import type { ProofState } from './proof-state.ts'

/** In one process, which may be broken off and run again. */
export const SEEDS_PER_PORTION = 200

/** Seeds from `from` on, in a process of their own: one that dies is what they came to. */
export async function simulatePortion(
  state: ProofState,
  { from, count }: { from: number; count: number },
): Promise<void> {
  const told = await inAProcess<SeedTotals>('scripts/sim.ts', ['--seed', `${from}`, '--seeds', `${count}`])
  const dead = { seeds: 0, simulatedMs: 0, events: 0, counts: [] }
  const totals = told.result ?? { ...dead, failures: [{ seed: from, failure: told.end }] }
  state.add({ kind: 'seeds', name: seedsName(from), ...told.facts, totals })
}

export interface MixturePortion {
  readonly mixture: string
  readonly seed: number
  readonly seconds: number
  /** Where histories and logs go if something is found. */
  readonly findings: string
}

/** One mixture in a process of its own: one that dies is what it came to. */
export async function chaosPortion(state: ProofState, portion: MixturePortion): Promise<void> {
  const { mixture, seed, seconds, findings } = portion
  mkdirSync(findings, { recursive: true })
  const flags = ['--only', mixture, '--seed', `${seed}`, '--seconds', `${seconds}`, '--findings', findings]
  const { result, end, facts } = await inAProcess<RoundLine>('scripts/chaos.ts', flags)
  const { nodeCount } = mixtureNamed(mixture)
  const dead = { sends: undefined, faults: [], elections: 0, longestGapMs: 0, leftOut: [], findings: [end] }
  const line = result ?? { mixture, seed, nodeCount, elapsedMs: facts.usage.elapsedMs, ...dead }
  state.add({ kind: 'round', name: roundName(mixture, seed), ...facts, line })
}

export function seedsName(from: number): string {
  return `simulation/${from}`
}

export function roundName(mixture: string, seed: number): string {
  return `${mixture}/${seed}`
}

async function inAProcess<Result>(program: string, flags: readonly string[]) {
  const scratch = mkdtempSync(join(tmpdir(), 'naru-proof-'))
  const results = join(scratch, 'results.jsonl')
  const window = new ProcessorWindow()
  const commit = commitName()
  try {
    const child = spawn(process.execPath, ['--import', 'tsx', program, ...flags, '--results', results], {
      cwd: REPOSITORY,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    // It has a machine to clear up.
    const forget = atExit(() => child.kill('SIGTERM'))
    const [code, signal] = await once(child, 'exit')
    forget()
    const { elapsedMs, busyPercent, stealPercent } = window.end()
    return {
      result: lastLine<Result>(results),
      end: `its process ended without a result (${signal ?? `exit code ${code}`})`,
      facts: { commit, at: new Date().toISOString(), usage: { elapsedMs, busyPercent, stealPercent } },
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function lastLine<Result>(file: string): Result | undefined {
  try {
    const line = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1)
    return line ? (JSON.parse(line) as Result) : undefined
  } catch {
    return undefined
  }
}
