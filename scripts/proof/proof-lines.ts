import type { RoundResult } from '../../test/chaos/round.ts'
import { type Promised, percentile } from './report.ts'

const LEADER_KILLS = ['kill-leader', 'kill-leader-controller']

/** Sums over all rounds, and whatever was found. */
export function proofLines(results: readonly RoundResult[], leftOut: readonly string[]): string[] {
  const hours = results.reduce((sum, one) => sum + one.elapsedMs, 0) / 3_600_000
  const sends = { ok: 0, fail: 0, info: 0 }
  for (const { verdict } of results)
    for (const outcome of ['ok', 'fail', 'info'] as const) sends[outcome] += verdict?.sends[outcome] ?? 0
  const elections = results.reduce((sum, one) => sum + one.elections, 0)
  const gaps = results.map(one => one.longestGapMs)
  const findings = results.flatMap(({ mixture, seed, findings: own }) =>
    own.map(one => `${mixture.name}, seed ${seed}: ${one}`),
  )
  const faults = [...faultCounts(results)].sort(([, a], [, b]) => b - a)
  return [
    `- ${results.length} rounds in ${hours.toFixed(1)} h: ${sends.ok} records acknowledged, ${sends.fail} refused, ${sends.info} of unknown outcome.`,
    `- Leaders of partitions elected: ${elections}.`,
    `- Longest time without an acknowledgement in a round, its faults included: median ${(percentile(gaps, 50) / 1000).toFixed(1)} s, at worst ${(percentile(gaps, 100) / 1000).toFixed(1)} s.`,
    `- Faults: ${faults.map(([name, count]) => `${name} ${count}`).join(', ')}.`,
    ...leftOut.map(what => `- Left out: ${what}.`),
    ...(findings.length === 0
      ? ['- Findings: none.']
      : findings.map(one => `- FOUND: ${one.replaceAll('\n', '\n  ')}`)),
  ]
}

export function proofPromises(
  results: readonly RoundResult[],
  { isSimulationKept, seeds }: { isSimulationKept: boolean; seeds: number },
): Promised[] {
  const broken = results.filter(one => one.findings.length > 0).length
  const counts = faultCounts(results)
  const kills = LEADER_KILLS.reduce((sum, one) => sum + (counts.get(one) ?? 0), 0)
  return [
    {
      what: `no invariant broken in ${seeds} simulations`,
      measured: isSimulationKept ? 'none' : 'some failed',
      isKept: isSimulationKept,
    },
    {
      what: `no anomaly in ${results.length} rounds with ${kills} leaders killed`,
      measured: broken === 0 ? '0' : `${broken} rounds found something`,
      isKept: broken === 0,
    },
  ]
}

function faultCounts(results: readonly RoundResult[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { faults } of results)
    for (const [name, count] of faults) counts.set(name, (counts.get(name) ?? 0) + count)
  return counts
}
