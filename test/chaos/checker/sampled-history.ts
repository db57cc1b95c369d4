import fc from 'fast-check'
import { HistoryBuilder } from './history-builder.ts'

export interface SampledSend {
  readonly partition: number
  readonly producer: number
  readonly outcome: 'ok' | 'fail' | 'info'
  /** Of what has no known outcome. */
  readonly isStored: boolean
  readonly count: number
}

/** What clients of a few partitions do, one after another. */
export type SampledStep =
  | ({ readonly kind: 'send' } & SampledSend)
  | { readonly kind: 'poll'; readonly partition: number; readonly reader: number; readonly max: number }
  | { readonly kind: 'fetch'; readonly partition: number; readonly from: number; readonly max: number }
  | { readonly kind: 'latest'; readonly partition: number }
  | { readonly kind: 'assign'; readonly partition: number; readonly reader: number }

const PARTITIONS = 2

const small = (max: number) => fc.integer({ min: 0, max })
const partition = small(PARTITIONS - 1)

export const sampledSteps: fc.Arbitrary<SampledStep[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        partition,
        producer: small(2),
        outcome: fc.constantFrom('ok', 'ok', 'ok', 'fail', 'info'),
        isStored: fc.boolean(),
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('poll' as const),
        partition,
        reader: small(2),
        max: fc.integer({ min: 1, max: 6 }),
      }),
    },
    fc.record({ kind: fc.constant('fetch' as const), partition, from: small(20), max: small(6) }),
    fc.record({ kind: fc.constant('latest' as const), partition }),
    fc.record({ kind: fc.constant('assign' as const), partition, reader: small(2) }),
  ),
  { maxLength: 80 },
)

/** The history of a log without faults under these steps, and the logs in the end. */
export function sampledHistory(steps: readonly SampledStep[]): { history: HistoryBuilder; logs: string[][] } {
  const history = new HistoryBuilder()
  const logs: string[][] = Array.from({ length: PARTITIONS }, () => [])
  const positions = new Map<string, number>()
  let serial = 0
  for (const step of steps) {
    const log = logs[step.partition] as string[]
    const place = { partition: `p-${step.partition}` }
    if (step.kind === 'send') {
      const producer = { ...place, process: `producer-${step.producer}` }
      const values = Array.from({ length: step.outcome === 'ok' ? step.count : 1 }, () => `v${serial++}`)
      const isStored = step.outcome === 'ok' || (step.outcome === 'info' && step.isStored)
      if (step.outcome === 'ok') history.sent(values, log.length, producer)
      else if (step.outcome === 'fail') history.refused(values[0] as string, producer)
      else history.unanswered(values[0] as string, producer)
      if (isStored) log.push(...values)
    } else if (step.kind === 'fetch') {
      const startOffset = Math.min(step.from, log.length)
      history.fetched(records(log, startOffset, step.max), { ...place, startOffset, endOffset: log.length })
    } else if (step.kind === 'latest') history.latest(log.length, place)
    else {
      const reader = `reader-${step.reader}`
      const key = `${reader} ${step.partition}`
      if (step.kind === 'assign') {
        positions.set(key, 0)
        history.assigned({ ...place, process: reader, startOffset: 0 })
      } else {
        const from = positions.get(key) ?? 0
        const found = records(log, from, step.max)
        positions.set(key, from + found.length)
        history.polled(found, { ...place, process: reader })
      }
    }
  }
  for (const [index, log] of logs.entries())
    for (const node of [1, 2, 3])
      history.drained(records(log, 0, log.length), { partition: `p-${index}`, node, endOffset: log.length })
  return { history, logs }
}

function records(log: readonly string[], from: number, max: number): [number, string][] {
  return log.slice(from, from + max).map((value, at) => [from + at, value])
}
