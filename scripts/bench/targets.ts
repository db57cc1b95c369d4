import type { Summary } from './samples.ts'

/** One promise of speed, held against what was measured. */
export interface TargetResult {
  readonly target: string
  readonly measured: string
  readonly isMet: boolean
}

/** Only those whose series were measured in this run: ratios across runs mean nothing on a shared machine. */
export function judgeTargets(summaries: readonly Summary[]): TargetResult[] {
  const find = (what: string, system: string, variant: string) =>
    summaries.find(one => one.what === what && one.system === system && one.variant === variant)?.median
  const results: TargetResult[] = []
  const atLeast = (target: string, factor: number, ours?: number, theirs?: number) => {
    if (ours === undefined || theirs === undefined || theirs === 0) return
    const ratio = ours / theirs
    results.push({ target, measured: `${ratio.toFixed(2)}x`, isMet: ratio >= factor })
  }
  for (const variant of ['100 B', '1 KB']) {
    const kafka = ['kafka default', 'kafka batched'].flatMap(system => find('produce', system, variant) ?? [])
    const better = kafka.length > 0 ? Math.max(...kafka) : undefined
    atLeast(
      `produce ${variant}: >= 2x the better of Kafka's two modes`,
      2,
      find('produce', 'naru', variant),
      better,
    )
    const consume = find('consume', 'naru', variant)
    atLeast(
      `consume ${variant}: >= 3x Kafka with its join`,
      3,
      consume,
      find('consume', 'kafka with join', variant),
    )
    atLeast(
      `consume ${variant}: >= 1x Kafka without its join`,
      1,
      consume,
      find('consume', 'kafka without join', variant),
    )
  }
  for (const variant of ['100 B', '1 KB']) {
    const p50 = find('awaited send p50', 'naru', variant)
    if (p50 === undefined) continue
    const target = `awaited send ${variant}: p50 <= 1.5 ms`
    results.push({ target, measured: `${p50.toFixed(2)} ms`, isMet: p50 <= 1.5 })
  }
  for (const when of ['idle', 'loaded', 'peak']) {
    const [ours, theirs] = ['naru', 'kafka'].map(system => find(`memory ${when}`, system, ''))
    if (ours === undefined || theirs === undefined) continue
    const target = `resident memory ${when}: <= 1/3 of Kafka's`
    const ratio = ours / theirs
    results.push({ target, measured: `${ratio.toFixed(2)}x`, isMet: ratio <= 1 / 3 })
  }
  return results
}
