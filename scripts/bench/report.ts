import { formatValue } from './bench-run.ts'
import type { MachineFacts } from './machine-facts.ts'
import { STEAL_PERCENT_MAX, type Summary } from './samples.ts'
import type { TargetResult } from './targets.ts'

export interface ReportParts {
  readonly facts: MachineFacts
  readonly settings: string
  readonly summaries: readonly Summary[]
  readonly targets: readonly TargetResult[]
}

/** The run as a page of Markdown. */
export function reportText({ facts, settings, summaries, targets }: ReportParts): string {
  const lines = [
    `# Bench of ${facts.at}`,
    '',
    `Commit ${facts.commit}; Node ${facts.node}${facts.java ? `; ${facts.java}` : ''}; ${facts.cores} cores of ${facts.processor}, ` +
      `${facts.memoryGb} GB, kernel ${facts.kernel}, ${facts.disk}. ${settings}`,
    '',
    `Median (lowest-highest) of the windows with less than ${STEAL_PERCENT_MAX} % steal; * where there was none, of all.`,
    '',
    '| what | | system | figure | unit | steal | windows |',
    '|---|---|---|---|---|---|---|',
    ...summaries.map(rowOf),
    '',
  ]
  if (targets.length > 0) {
    lines.push('| target | measured | |', '|---|---|---|')
    for (const { target, measured, isMet } of targets)
      lines.push(`| ${target} | ${measured} | ${isMet ? 'met' : 'NOT MET'} |`)
    lines.push('')
  }
  return lines.join('\n')
}

function rowOf(one: Summary): string {
  const range = one.counted > 1 ? ` (${formatValue(one.min)}-${formatValue(one.max)})` : ''
  const figure = `${formatValue(one.median)}${range}${one.isDisturbed ? ' *' : ''}`
  const windows = one.counted === one.windows ? `${one.windows}` : `${one.counted} of ${one.windows}`
  return `| ${[one.what, one.variant, one.system, figure, one.unit, stealText(one), windows].join(' | ')} |`
}

function stealText({ stealPercentMin: min, stealPercentMax: max }: Summary): string {
  if (min === undefined || max === undefined) return ''
  const [from, to] = [min.toFixed(0), max.toFixed(0)]
  return from === to ? `${from} %` : `${from}-${to} %`
}
