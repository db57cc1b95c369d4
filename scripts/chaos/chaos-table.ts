import Table from 'cli-table3'
import type { RoundResult } from '../../test/chaos/round.ts'

/** A line for each mixture of each round. */
export function chaosTable(results: readonly RoundResult[]): string {
  const table = new Table({
    head: [
      'mixture',
      'seed',
      'nodes',
      'faults',
      'elections',
      'acknowledged',
      'unknown',
      'longest gap',
      'findings',
    ],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'right'],
  })
  for (const { mixture, seed, faults, elections, verdict, longestGapMs, findings } of results)
    table.push([
      mixture.name,
      seed,
      mixture.nodeCount,
      [...faults.values()].reduce((sum, one) => sum + one, 0),
      elections,
      verdict?.sends.ok ?? '-',
      verdict?.sends.info ?? '-',
      `${(longestGapMs / 1000).toFixed(1)} s`,
      findings.length,
    ])
  return table.toString()
}
