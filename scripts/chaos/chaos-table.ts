import Table from 'cli-table3'
import type { RoundLine } from './round-line.ts'

/** A line for each mixture of each round. */
export function chaosTable(results: readonly RoundLine[]): string {
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
  for (const { mixture, seed, nodeCount, faults, elections, sends, longestGapMs, findings } of results)
    table.push([
      mixture,
      seed,
      nodeCount,
      faults.reduce((sum, [, count]) => sum + count, 0),
      elections,
      sends?.ok ?? '-',
      sends?.info ?? '-',
      `${(longestGapMs / 1000).toFixed(1)} s`,
      findings.length,
    ])
  return table.toString()
}
