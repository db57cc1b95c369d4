/**
 * Measured windows and what is made of them. A shared machine loses processor time to its hypervisor ("steal"): each
 * window carries its own share, and those with much of it are marked and, where others are left, not counted.
 */
export interface Sample {
  /** What was measured: `produce`, `consume`, `memory peak` ... */
  readonly what: string
  /** `naru`, `kafka default`, `kafka batched` ... */
  readonly system: string
  /** What else distinguishes the series: record size, partitions. */
  readonly variant: string
  readonly unit: 'records/s' | 'ms' | 'MB' | 'syncs/s' | 'records/sync' | '% of a core'
  readonly value: number
  readonly repeat: number
  /** Of all cores' time in the window; undefined: a reading of a moment. */
  readonly stealPercent: number | undefined
}

export const STEAL_PERCENT_MAX = 10

export interface Summary {
  readonly what: string
  readonly system: string
  readonly variant: string
  readonly unit: Sample['unit']
  readonly median: number
  readonly min: number
  readonly max: number
  readonly stealPercentMin: number | undefined
  readonly stealPercentMax: number | undefined
  /** Windows that the figures are from, and all there were. */
  readonly counted: number
  readonly windows: number
  /** No window was clean: the figures are from disturbed ones. */
  readonly isDisturbed: boolean
}

/** One line per series, in the order of their first samples. */
export function summarise(samples: readonly Sample[]): Summary[] {
  const series = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = [sample.what, sample.variant, sample.system, sample.unit].join('|')
    series.set(key, [...(series.get(key) ?? []), sample])
  }
  return [...series.values()].map(summaryOf)
}

function summaryOf(samples: readonly Sample[]): Summary {
  const clean = samples.filter(sample => !isDisturbed(sample))
  const counted = clean.length > 0 ? clean : samples
  const values = counted.map(sample => sample.value).sort((a, b) => a - b)
  const steals = counted.flatMap(sample => (sample.stealPercent === undefined ? [] : [sample.stealPercent]))
  const { what, system, variant, unit } = samples[0] as Sample
  return {
    what,
    system,
    variant,
    unit,
    median: median(values),
    min: values[0] ?? 0,
    max: values.at(-1) ?? 0,
    stealPercentMin: steals.length > 0 ? Math.min(...steals) : undefined,
    stealPercentMax: steals.length > 0 ? Math.max(...steals) : undefined,
    counted: counted.length,
    windows: samples.length,
    isDisturbed: clean.length === 0,
  }
}

export function isDisturbed(sample: Pick<Sample, 'stealPercent'>): boolean {
  return (sample.stealPercent ?? 0) >= STEAL_PERCENT_MAX
}

/** Of sorted values. */
export function median(sorted: readonly number[]): number {
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
