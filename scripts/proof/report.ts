import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { REPOSITORY } from '../bench/child-processes.ts'
import { machineFacts } from '../bench/machine-facts.ts'
import type { WindowUsage } from '../bench/processor-time.ts'

export interface Promised {
  readonly what: string
  readonly measured: string
  readonly isKept: boolean
}

/** A page of docs/reports: what was shown, where, and what disturbed it. Returns its text. */
export function writeReport(
  name: string,
  page: {
    title: string
    story: string
    lines: readonly string[]
    promised: readonly Promised[]
    usage: WindowUsage
  },
): string {
  const { title, story, lines, promised, usage } = page
  const facts = machineFacts({ scratch: tmpdir(), withJava: false })
  const text = [
    `# ${title}`,
    '',
    story,
    '',
    `${facts.at}; commit ${facts.commit}; Node ${facts.node}; ${facts.cores} cores of ${facts.processor}, ${facts.memoryGb} GB, ` +
      `kernel ${facts.kernel}, ${facts.disk}. It took ${(usage.elapsedMs / 1000).toFixed(0)} s; the machine was busy for ` +
      `${usage.busyPercent.toFixed(0)} % of that, and ${usage.stealPercent.toFixed(1)} % was stolen by its hypervisor.`,
    '',
    ...lines,
    '',
    '| promised | measured | |',
    '|---|---|---|',
    ...promised.map(one => `| ${one.what} | ${one.measured} | ${one.isKept ? 'kept' : 'NOT KEPT'} |`),
    '',
  ].join('\n')
  const directory = join(REPOSITORY, 'docs/reports')
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, `${name}.md`), text)
  return text
}

/** Of values in any order. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
}

/** `p50 12 ms, p99 40 ms, longest 51 ms` */
export function spreadText(values: readonly number[]): string {
  const [p50, p99, max] = [percentile(values, 50), percentile(values, 99), percentile(values, 100)]
  return `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${max.toFixed(0)} ms`
}
