import type { RoundResult } from '../../test/chaos/round.ts'

/** What is kept of a round when it is over, as a line of a file. */
export interface RoundLine {
  readonly mixture: string
  readonly seed: number
  readonly nodeCount: number
  readonly elapsedMs: number
  readonly sends: { readonly ok: number; readonly fail: number; readonly info: number } | undefined
  readonly faults: readonly (readonly [name: string, count: number])[]
  readonly elections: number
  readonly longestGapMs: number
  readonly findings: readonly string[]
  /** What the machine did not allow. */
  readonly leftOut: readonly string[]
}

/** A finding may show thousands of operations: the beginning tells what it is, the kept history the rest. */
const FINDING_LENGTH_MAX = 4_000

export function roundLine(result: RoundResult, leftOut: readonly string[] = []): RoundLine {
  const { mixture, seed, elapsedMs, verdict, faults, elections, longestGapMs, findings } = result
  return {
    mixture: mixture.name,
    seed,
    nodeCount: mixture.nodeCount,
    elapsedMs,
    sends: verdict?.sends,
    faults: [...faults],
    elections,
    longestGapMs,
    findings: findings.map(one => one.slice(0, FINDING_LENGTH_MAX)),
    leftOut,
  }
}
