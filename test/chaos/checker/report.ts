import { ANOMALIES } from './anomalies.ts'
import type { Verdict } from './check-history.ts'
import type { Operation } from './history.ts'

/** For people: what was looked at, and each anomaly with the operations that show it. */
export function verdictText(verdict: Verdict): string {
  const { validity, sends, partitions, valuesRead, worstLagMs, anomalies, counts, unknown } = verdict
  return [
    `The history is ${validity}: ${sends.ok} sends acknowledged, ${sends.fail} refused, ${sends.info} of unknown outcome, ` +
      `in ${partitions} partitions; ${valuesRead} values read, at most ${worstLagMs.toFixed(0)} ms behind.`,
    ...unknown.map(what => `Not known: ${what}.`),
    ...[...counts].map(
      ([kind, count]) => `${count} x ${kind} (${ANOMALIES[kind].rule}): ${ANOMALIES[kind].meaning}.`,
    ),
    ...anomalies.flatMap(({ kind, partition, what, operations }) => [
      `${kind} in ${partition}: ${what}`,
      ...operations.map(one => `    ${operationText(one)}`),
    ]),
  ].join('\n')
}

function operationText(one: Operation): string {
  const {
    op,
    id,
    process,
    node,
    outcome,
    invokedMs,
    completedMs,
    values,
    offsets,
    startOffset,
    endOffset,
    error,
  } = one
  const until = completedMs === undefined ? 'no end' : `${seconds(completedMs)}`
  return [
    `${seconds(invokedMs)} ... ${until}  ${op} ${id} of ${process}`,
    node === undefined ? '' : ` at node ${node}`,
    `: ${outcome}`,
    startOffset === undefined ? '' : `, from offset ${startOffset}`,
    values.length === 0 ? '' : `, ${values.length} values: ${sample(values)}`,
    offsets.length === 0 ? '' : `, offsets ${sample(offsets)}`,
    endOffset === undefined ? '' : `, end ${endOffset}`,
    error === undefined ? '' : ` (${error})`,
  ].join('')
}

function sample(list: readonly (string | number)[]): string {
  const [first, last] = [list[0], list.at(-1)]
  return list.length <= 5 ? list.join(', ') : `${first} ... ${last}`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`
}
