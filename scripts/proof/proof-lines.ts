import type { WindowUsage } from '../bench/processor-time.ts'
import { chaosTable } from '../chaos/chaos-table.ts'
import type { RoundLine } from '../chaos/round-line.ts'
import { SeedTable } from '../sim/seed-table.ts'
import { simulationSection } from '../sim/sim-report.ts'
import { findingsOf, type ProofState, type RoundPortion, type SeedPortion } from './proof-state.ts'
import { type Promised, percentile } from './report.ts'

const LEADER_KILLS = ['kill-leader', 'kill-leader-controller']

export function leaderKills(rounds: readonly RoundPortion[]): number {
  const counts = faultCounts(rounds.map(({ line }) => line))
  return LEADER_KILLS.reduce((sum, one) => sum + (counts.get(one) ?? 0), 0)
}

/** Of all portions together. */
export function usageOf(portions: readonly (SeedPortion | RoundPortion)[]): WindowUsage {
  const elapsedMs = portions.reduce((sum, { usage }) => sum + usage.elapsedMs, 0)
  const share = (of: (usage: SeedPortion['usage']) => number) =>
    portions.reduce((sum, { usage }) => sum + of(usage) * usage.elapsedMs, 0) / Math.max(1, elapsedMs)
  const [busyPercent, stealPercent] = [share(one => one.busyPercent), share(one => one.stealPercent)]
  return { elapsedMs, busyPercent, stealPercent, processMs: 0 }
}

/** The page between its head and its promises. */
export function proofLines(state: ProofState): string[] {
  return [
    ...portionLines(state),
    ...(state.seeds.length === 0 ? [] : ['', ...simulationLines(state.seeds)]),
    ...(state.rounds.length === 0 ? [] : ['', '## Chaos', '', ...chaosLines(state)]),
    ...(state.fixes.length === 0 ? [] : ['', '## Found on the way, and mended', '', ...fixLines(state)]),
  ]
}

/** Which build ran what, when. */
function portionLines({ portions }: ProofState): string[] {
  const byCommit = new Map<string, (SeedPortion | RoundPortion)[]>()
  for (const one of portions) byCommit.set(one.commit, [...(byCommit.get(one.commit) ?? []), one])
  return [
    '| commit | from | to | seeds | rounds of a mixture | hours | machine busy | stolen |',
    '|---|---|---|---:|---:|---:|---:|---:|',
    ...[...byCommit].map(([commit, own]) => {
      const times = own.map(({ at }) => at).sort()
      const seeds = own.reduce((sum, one) => sum + (one.kind === 'seeds' ? one.totals.seeds : 0), 0)
      const rounds = own.filter(({ kind }) => kind === 'round').length
      const { elapsedMs, busyPercent, stealPercent } = usageOf(own)
      const hours = (elapsedMs / 3_600_000).toFixed(1)
      const [busy, stolen] = [`${busyPercent.toFixed(0)} %`, `${stealPercent.toFixed(1)} %`]
      const cells = [commit, times[0], times.at(-1), seeds, rounds, hours, busy, stolen]
      return `| ${cells.join(' | ')} |`
    }),
  ]
}

function simulationLines(seeds: readonly SeedPortion[]): string[] {
  const table = new SeedTable()
  let seconds = 0
  for (const { totals, usage } of seeds) {
    table.addAll(totals)
    seconds += usage.elapsedMs / 1000
  }
  const from = Math.min(...seeds.map(({ name }) => Number(name.split('/')[1])))
  return simulationSection({ from, table, seconds }).trimEnd().split('\n')
}

/** All rounds one by one, then their sums, and whatever was found. */
function chaosLines({ rounds }: ProofState): string[] {
  const lines = rounds.map(({ line }) => line)
  const hours = lines.reduce((sum, one) => sum + one.elapsedMs, 0) / 3_600_000
  const sends = { ok: 0, fail: 0, info: 0 }
  for (const one of lines)
    for (const outcome of ['ok', 'fail', 'info'] as const) sends[outcome] += one.sends?.[outcome] ?? 0
  const elections = lines.reduce((sum, one) => sum + one.elections, 0)
  const gaps = lines.map(one => one.longestGapMs)
  const findings = rounds.flatMap(round => findingsOf(round).map(one => `${round.name}: ${one}`))
  const faults = [...faultCounts(lines)].sort(([, a], [, b]) => b - a)
  const leftOut = new Set(lines.flatMap(one => one.leftOut))
  return [
    ...chaosTable(lines)
      .split('\n')
      .map(line => `    ${line}`),
    '',
    `- ${lines.length} rounds in ${hours.toFixed(1)} h: ${sends.ok} records acknowledged, ${sends.fail} refused, ${sends.info} of unknown outcome.`,
    `- Leaders killed under load: ${leaderKills(rounds)}; leaders of partitions elected: ${elections}.`,
    `- Longest time without an acknowledgement in a round, its faults included: median ${(percentile(gaps, 50) / 1000).toFixed(1)} s, at worst ${(percentile(gaps, 100) / 1000).toFixed(1)} s.`,
    `- Faults: ${faults.map(([name, count]) => `${name} ${count}`).join(', ')}.`,
    ...[...leftOut].map(what => `- Left out: ${what}.`),
    ...(findings.length === 0
      ? ['- Findings: none.']
      : findings.map(one => `- FOUND: ${one.replaceAll('\n', '\n  ')}`)),
  ]
}

function fixLines(state: ProofState): string[] {
  return state.fixes.map(({ fix, found }) => {
    const lines = (found[0] ?? 'nothing that was kept').split('\n')
    // A judgement begins with sums; which anomalies there are comes after them.
    const told = lines.filter(line => /^\d+ x /.test(line))
    const since = state.isDone(fix.name) ? 'Run again since.' : 'Not run again yet.'
    return `- ${fix.name} found: ${told.join(' ') || lines[0]} Mended: ${fix.how}. ${since}`
  })
}

export interface ProofGoals {
  readonly seeds: number
  readonly rounds: number
  readonly leaderKills: number
}

export function proofPromises({ seeds, rounds, portions }: ProofState, goals: ProofGoals): Promised[] {
  const simulated = seeds.reduce((sum, { totals }) => sum + totals.seeds, 0)
  const failures = seeds.reduce((sum, { totals }) => sum + totals.failures.length, 0)
  const mixtures = new Map<string, number>()
  for (const { line } of rounds) mixtures.set(line.mixture, (mixtures.get(line.mixture) ?? 0) + 1)
  const full = Math.min(mixtures.size < MIXTURES_COUNT ? 0 : Number.POSITIVE_INFINITY, ...mixtures.values())
  const kills = leaderKills(rounds)
  const broken = rounds.filter(({ line }) => line.findings.length > 0).length
  const hours = portions.reduce((sum, { usage }) => sum + usage.elapsedMs, 0) / 3_600_000
  const least = (what: string, measured: number, wanted: number) => ({
    what: `${what}: ${wanted} or more`,
    measured: `${Number(measured.toFixed(1))}`,
    isKept: measured >= wanted,
  })
  return [
    { what: 'simulations that broke an invariant: 0', measured: `${failures}`, isKept: failures === 0 },
    { what: 'rounds that found something: 0', measured: `${broken}`, isKept: broken === 0 },
    least('simulations', simulated, goals.seeds),
    least('full rounds of the 14 mixtures', full, goals.rounds),
    least('leaders killed under load', kills, goals.leaderKills),
    least('hours in all', hours, HOURS_MIN),
  ]
}

const MIXTURES_COUNT = 14
const HOURS_MIN = 4

function faultCounts(lines: readonly RoundLine[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { faults } of lines)
    for (const [name, count] of faults) counts.set(name, (counts.get(name) ?? 0) + count)
  return counts
}
