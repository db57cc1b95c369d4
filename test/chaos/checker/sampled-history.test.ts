import fc from 'fast-check'
import { expect, it } from 'vitest'
import { checkHistory } from './check-history.ts'
import type { Completion, HistoryEvent, Invocation } from './history.ts'
import { sampledHistory, sampledSteps } from './sampled-history.ts'

type Read = Completion & { values: string[]; offsets: number[] }

it('finds nothing in histories of logs without faults', () => {
  fc.assert(
    fc.property(sampledSteps, steps => {
      const verdict = checkHistory(sampledHistory(steps).history.events)
      expect(verdict.anomalies).toEqual([])
      expect(verdict.validity).not.toBe('invalid')
    }),
    { numRuns: 500 },
  )
})

/** Each changes one answer of a good history into one that no good log gives. Returns whether it could. */
const MUTATIONS: Record<string, (events: HistoryEvent[], pick: number) => boolean> = {
  'loses an acknowledged record everywhere': (events, pick) => {
    const send = picked(sends(events), pick)
    const value = send?.values?.[0]
    if (send === undefined || value === undefined) return false
    for (const read of reads(events)) {
      const at = read.values.indexOf(value)
      if (at < 0) continue
      read.values.splice(at, 1)
      read.offsets.splice(at, 1)
    }
    return true
  },
  'stores a record a second time': (events, pick) => {
    const drain = picked(drains(events), pick)
    const value = drain?.values[0]
    if (drain === undefined || value === undefined) return false
    drain.values.push(value)
    drain.offsets.push((drain.offsets.at(-1) ?? 0) + 1)
    return true
  },
  'exchanges two records for one reader': (events, pick) => {
    const read = picked(
      reads(events).filter(one => one.values.length > 1),
      pick,
    )
    if (read === undefined) return false
    const [first, second] = read.values as [string, string]
    read.values.splice(0, 2, second, first)
    return true
  },
  'leaves one record out of an answer': (events, pick) => {
    const read = picked(
      reads(events).filter(one => one.values.length > 2),
      pick,
    )
    if (read === undefined) return false
    read.values.splice(1, 1)
    read.offsets.splice(1, 1)
    return true
  },
  'makes up a record': (events, pick) => {
    const read = picked(
      reads(events).filter(one => one.values.length > 0),
      pick,
    )
    read?.values.splice(0, 1, 'made up')
    return read !== undefined
  },
  'forgets the last record for one node': (events, pick) => {
    const drain = picked(
      drains(events).filter(one => one.values.length > 0),
      pick,
    )
    drain?.values.pop()
    drain?.offsets.pop()
    return drain !== undefined
  },
  'tells of an end before what is there': (events, pick) => {
    const drain = picked(
      drains(events).filter(one => (one.endOffset ?? 0) > 0),
      pick,
    )
    if (drain === undefined) return false
    Object.assign(drain, { endOffset: (drain.endOffset as number) - 1 })
    drain.values.pop()
    drain.offsets.pop()
    return true
  },
  'refuses what it stores': (events, pick) => {
    const begin = picked(
      sends(events).filter(one => one.values?.length === 1),
      pick,
    )
    const end = events.find((one): one is Completion => one.type === 'ok' && one.id === begin?.id)
    if (end !== undefined) Object.assign(end, { type: 'fail' })
    return end !== undefined
  },
}

it.each(Object.entries(MUTATIONS))('finds a log that %s', (_, mutate) => {
  fc.assert(
    fc.property(sampledSteps, fc.nat(), (steps, pick) => {
      const events = structuredClone(sampledHistory(steps).history.events)
      fc.pre(mutate(events, pick))
      expect(checkHistory(events).validity).toBe('invalid')
    }),
    { numRuns: 100 },
  )
})

it('takes a million operations', () => {
  const partitions = 4
  const perPartition = 125_000
  function* events(): Generator<HistoryEvent> {
    let id = 0
    let timeMs = 0
    for (let offset = 0; offset < perPartition; offset++)
      for (let index = 0; index < partitions; index++) {
        const place = { partition: `p-${index}`, process: `client-${index}` }
        const values = [`${index}-${offset}`]
        yield { id, type: 'invoke', op: 'send', ...place, timeMs: timeMs++, values }
        yield { id: id++, type: 'ok', timeMs: timeMs++, offsets: [offset] }
        yield { id, type: 'invoke', op: 'poll', ...place, timeMs: timeMs++ }
        yield { id: id++, type: 'ok', timeMs: timeMs++, values, offsets: [offset] }
      }
  }
  const verdict = checkHistory(events())
  expect(verdict.anomalies).toEqual([])
  expect(verdict.sends.ok).toBe(partitions * perPartition)
}, 120_000)

function reads(events: HistoryEvent[]): Read[] {
  return events.filter((one): one is Read => one.type === 'ok' && 'values' in one)
}

function drains(events: HistoryEvent[]): Read[] {
  const ids = new Set(events.filter(one => one.type === 'invoke' && one.op === 'drain').map(one => one.id))
  return reads(events).filter(one => ids.has(one.id))
}

/** Acknowledged ones. */
function sends(events: HistoryEvent[]): Invocation[] {
  const acknowledged = new Set(events.filter(one => one.type === 'ok').map(one => one.id))
  return events.filter(
    (one): one is Invocation => one.type === 'invoke' && one.op === 'send' && acknowledged.has(one.id),
  )
}

function picked<T>(list: readonly T[], pick: number): T | undefined {
  return list[pick % Math.max(1, list.length)]
}
