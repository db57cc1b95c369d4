import { HARMS } from '../../test/sim/cluster-swarm.ts'
import { SITUATIONS } from '../../test/sim/situations.ts'
import type { SeedSummary } from './run-seeds.ts'
import type { SeedTable } from './seed-table.ts'

/** Seeds in which each situation must have been met at least once. */
const SEEDS_PER_SITUATION = 1_000

/** Of `npm run sim`, as Markdown: a section that `npm run proof` can put among its own. */
export function simulationSection({ from, table, seconds }: SeedSummary): string {
  const { seeds, simulatedMs, events, failures } = table
  const records = table.counts.filter(([what]) => what.startsWith('records acknowledged'))
  const acknowledged = records.reduce((sum, [, total]) => sum + total, 0)
  const facts = [
    ['seeds', `${from} to ${from + seeds - 1}: ${seeds}`],
    ['failed', `${failures.length}`],
    ['simulated time', `${(simulatedMs / 3_600_000).toFixed(1)} h`],
    ['events', `${events}`],
    ['real time', `${(seconds / 3600).toFixed(2)} h (${(seeds / seconds).toFixed(2)} seeds/s)`],
    ['records acknowledged', `${acknowledged}`],
    ['operations in checked histories', `${table.countOf('operations in histories')}`],
    ['elections of the quorum', `${table.countOf('elections')}`],
    ['leaders of partitions elected', `${table.countOf('leaders elected')}`],
    ['faults', `${HARMS.reduce((sum, harm) => sum + table.countOf(harm), 0)}`],
  ]
  return `## Simulation

${tableText(['what', 'how much'], facts)}

${failures.length === 0 ? 'No invariant was broken, every healed cluster converged, and no history had an anomaly.' : table.failuresText('npm run sim --')}

### Faults

${tableText(
  ['fault', 'times'],
  HARMS.map(harm => [harm, `${table.countOf(harm)}`]),
)}

### Situations

${situationsText(table)}

### All counters

${tableText(
  ['what happened', 'times', 'in seeds'],
  table.counts.map(([what, total, inSeeds]) => [what, `${total}`, `${inSeeds}`]),
)}
`
}

/** Which of what is interesting was met often enough, and which was not. */
export function situationsText(table: SeedTable): string {
  const countOf = (what: string) => table.countOf(what)
  const never = SITUATIONS.filter(what => countOf(what) === 0)
  const seldom = SITUATIONS.filter(
    what => countOf(what) > 0 && countOf(what) * SEEDS_PER_SITUATION < table.seeds,
  )
  const met = SITUATIONS.length - never.length - seldom.length
  return [
    `${met} of ${SITUATIONS.length} interesting situations were met at least once per ${SEEDS_PER_SITUATION} seeds.`,
    ...(seldom.length > 0 ? [`Less often: ${seldom.join('; ')}.`] : []),
    ...(never.length > 0 ? [`Never: ${never.join('; ')}.`] : []),
  ].join('\n')
}

function tableText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}
