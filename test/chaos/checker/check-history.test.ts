import { describe, expect, it } from 'vitest'
import type { AnomalyKind } from './anomalies.ts'
import { type CheckOptions, checkHistory } from './check-history.ts'
import { parseHistory } from './history.ts'
import { HistoryBuilder } from './history-builder.ts'
import { verdictText } from './report.ts'

const A = [0, 'a'] as const
const B = [1, 'b'] as const
const C = [2, 'c'] as const

const three = () => new HistoryBuilder().sent('a', 0).sent('b', 1).sent('c', 2)

function kindsOf(history: HistoryBuilder, options?: CheckOptions): AnomalyKind[] {
  return [...checkHistory(history.events, options).counts.keys()].sort()
}

describe('a log that keeps its promises', () => {
  it('is valid', () => {
    const history = three()
      .assigned({ startOffset: 0 })
      .polled([A, B])
      .polled([C])
      .fetched([A, B, C])
      .latest(3)
    history.drained([A, B, C]).drained([A, B, C], { node: 2 })
    expect(checkHistory(history.events)).toMatchObject({ validity: 'valid', anomalies: [], valuesRead: 3 })
  })

  it('may store what has no known outcome late, or never', () => {
    const history = new HistoryBuilder().sent('a', 0).unanswered('b').unanswered('lost').sent('c', 2)
    history.drained([A, B, C])
    expect(checkHistory(history.events)).toMatchObject({
      validity: 'valid',
      sends: { ok: 2, fail: 0, info: 2 },
    })
  })

  it('does not know what a refused value would have been', () => {
    expect(kindsOf(three().refused('d').drained([A, B, C]))).toEqual([])
  })

  it('may show a reader the same records again after it is assigned anew', () => {
    const history = three().polled([A, B]).assigned({ startOffset: 1 }).polled([B, C]).assigned().polled([A])
    expect(kindsOf(history.drained([A, B, C]))).toEqual([])
  })

  it('may store sends that overlap in any order', () => {
    const history = new HistoryBuilder()
      .sent('b', 1, { process: 'one', fromMs: 1, toMs: 5 })
      .sent('a', 0, { process: 'two', fromMs: 2, toMs: 6 })
    expect(kindsOf(history.drained([A, B]))).toEqual([])
  })

  it('may end before what is acknowledged while it is asked', () => {
    const history = new HistoryBuilder()
      .sent('a', 0, { fromMs: 1, toMs: 5 })
      .latest(0, { fromMs: 4, toMs: 9 })
    expect(kindsOf(history.drained([A]))).toEqual([])
  })

  it('is unknown when nobody read it in the end', () => {
    const verdict = checkHistory(three().polled([A, B, C]).events)
    expect(verdict).toMatchObject({ validity: 'unknown', unknown: ['p-0 was not read in the end'] })
  })
})

describe('a group that keeps its promises', () => {
  const group = 'g'

  it('is valid over a change of its members', () => {
    const history = three()
      .assigned({ group, startOffset: 0 })
      .polled([A, B], { group })
      .committed(1, { group })
      .assigned({ group, startOffset: 1, process: 'other' })
      .polled([B, C], { group, process: 'other' })
      .committed(3, { group, process: 'other' })
      .toldCommitted(3, { group })
    expect(kindsOf(history.drained([A, B, C]))).toEqual([])
  })

  it('may be told of either of two commits that overlap, and of one of unknown outcome', () => {
    const given = () => three().assigned({ group, startOffset: 0 }).polled([A, B, C], { group })
    for (const told of [1, 2]) {
      const overlapping = given()
        .committed(1, { group, fromMs: 20, toMs: 30 })
        .committed(2, { group, fromMs: 21, toMs: 29 })
      expect(kindsOf(overlapping.toldCommitted(told, { group }).drained([A, B, C]))).toEqual([])
    }
    const unknown = given().maybeCommitted(2, { group }).committed(1, { group }).toldCommitted(2, { group })
    expect(kindsOf(unknown.drained([A, B, C]))).toEqual([])
  })

  it('may be told of no commit before there is one', () => {
    const history = three().toldCommitted(undefined, { group }).drained([A, B, C])
    expect(kindsOf(history)).toEqual([])
  })
})

describe('an anomaly of each kind', () => {
  const histories: Record<AnomalyKind, HistoryBuilder> = {
    'inconsistent-offsets': three()
      .polled([A, B])
      .polled([[1, 'x']], { process: 'other' })
      .unanswered('x', { fromMs: 0, process: 'other producer' })
      .drained([A, B, C]),
    'lost-write': three().drained([A, C]),
    duplicate: three().drained([A, B, C, [3, 'a']]),
    'aborted-read': three()
      .refused('d')
      .drained([A, B, C, [3, 'd']]),
    'internal-poll-skip': three().polled([A, C]).drained([A, B, C]),
    'internal-nonmonotonic-poll': three().polled([B, A]).drained([A, B, C]),
    'poll-skip': three().polled([A]).polled([C]).drained([A, B, C]),
    'nonmonotonic-poll': three().polled([A, B]).polled([B, C]).drained([A, B, C]),
    'nonmonotonic-send': new HistoryBuilder()
      .sent('b', 1, { fromMs: 1, toMs: 5 })
      .sent('a', 0, { fromMs: 2, toMs: 6 })
      .drained([A, B]),
    'internal-nonmonotonic-send': new HistoryBuilder().sent(['b', 'a'], [1, 0]).drained([A, B]),
    'reordered-send': new HistoryBuilder()
      .sent('b', 1, { process: 'one' })
      .sent('a', 0, { process: 'two' })
      .drained([A, B]),
    unseen: three().drained([A, B], { endOffset: 3, fromMs: 0 }),
    'stale-read': three().latest(2).drained([A, B, C]),
    'stale-fetch': three().hung({ node: 2, fromMs: 0, toMs: 9 }).fetched([A], { node: 2 }).drained([A, B, C]),
    'divergent-final-reads': three().drained([A, B, C]).drained([A, B], { node: 2, endOffset: 3 }),
    unexpected: three().drained([A, B, C, [3, 'z']]),
    'unowned-record': three()
      .owned(0, { fromMs: 4, toMs: 50 })
      .assigned({ group: 'g', startOffset: 0, fromMs: 10 })
      .polled([A], { group: 'g', fromMs: 20 })
      .polled([B], { group: 'g', fromMs: 60 })
      .polled([C], { group: 'g' })
      .drained([A, B, C]),
    'committed-again': three()
      .owned(0, { process: 'other', fromMs: 4, toMs: 50 })
      .assigned({ group: 'g', startOffset: 0, process: 'other', fromMs: 10 })
      .polled([A, B], { group: 'g', process: 'other', fromMs: 20 })
      .stored(0)
      .stored(2)
      .owned(2, { fromMs: 50, toMs: 90 })
      .assigned({ group: 'g', startOffset: 1, fromMs: 60 })
      .polled([B, C], { group: 'g', fromMs: 70 })
      .drained([A, B, C], { fromMs: 100 }),
    'fenced-commit': three()
      .assigned({ group: 'g', startOffset: 0 })
      .polled([A], { group: 'g' })
      .assigned({ group: 'g', startOffset: 0, process: 'other' })
      .committed(1, { group: 'g' })
      .drained([A, B, C]),
    'lost-commit': three()
      .assigned({ group: 'g', startOffset: 0 })
      .polled([A, B], { group: 'g' })
      .committed(1, { group: 'g' })
      .committed(2, { group: 'g' })
      .toldCommitted(1, { group: 'g' })
      .drained([A, B, C]),
    'skipped-record': three()
      .assigned({ group: 'g', startOffset: 0 })
      .polled([A], { group: 'g' })
      .assigned({ group: 'g', startOffset: 2, process: 'other' })
      .polled([C], { group: 'g', process: 'other' })
      .drained([A, B, C]),
    'commit-beyond-end': three().assigned({ group: 'g' }).committed(4, { group: 'g' }).drained([A, B, C]),
    'commit-ahead': three()
      .assigned({ group: 'g', startOffset: 0 })
      .polled([A], { group: 'g' })
      .committed(2, { group: 'g' })
      .polled([B], { group: 'g' })
      .drained([A, B, C]),
    'offset-gap': new HistoryBuilder()
      .sent('a', 0)
      .sent('b', 2)
      .drained([A, [2, 'b']]),
  }
  /** What necessarily comes with it. */
  const companions: Partial<Record<AnomalyKind, AnomalyKind[]>> = {
    'lost-write': ['internal-poll-skip', 'offset-gap'],
    unseen: ['offset-gap'],
    'divergent-final-reads': ['offset-gap'],
    duplicate: [],
  }

  it.each(Object.entries(histories) as [AnomalyKind, HistoryBuilder][])('%s', (kind, history) => {
    expect(checkHistory(history.events).validity).toBe(kind === 'stale-fetch' ? 'valid' : 'invalid')
    expect(kindsOf(history)).toEqual([kind, ...(companions[kind] ?? [])].sort())
  })

  it('stands in a report with records, offsets, nodes and times', () => {
    const text = verdictText(checkHistory(three().drained([A, C], { node: 2, fromMs: 1_500 }).events))
    expect(text).toContain('lost-write in p-0: b, acknowledged at offset 1')
    expect(text).toContain('0.003 s ... 0.004 s  send 1 of producer: ok, 1 values: b, offsets 1')
    expect(text).toContain(
      '1.500 s ... 1.501 s  drain 3 of drain at node 2: ok, 2 values: a, c, offsets 0, 2, end 3',
    )
  })
})

describe('what only some histories may show', () => {
  it('counts duplicates and reordered retries without idempotence', () => {
    const history = three().drained([A, B, C, [3, 'a']])
    expect(checkHistory(history.events, { isIdempotent: false }).validity).toBe('valid')
    expect(kindsOf(history, { isIdempotent: false })).toEqual(['duplicate'])
  })

  it('finds what a reader was not given at its start', () => {
    const late = three().assigned({ startOffset: 0 }).polled([B, C]).drained([A, B, C])
    expect(kindsOf(late)).toEqual(['poll-skip'])
    const elsewhere = three().fetched([C], { startOffset: 1 }).drained([A, B, C])
    expect(kindsOf(elsewhere)).toEqual(['poll-skip'])
  })

  it('finds an end that goes back, also below what was only read', () => {
    const history = new HistoryBuilder().unanswered('a').polled([A]).latest(0).drained([A])
    expect(kindsOf(history)).toEqual(['stale-read'])
  })

  it('excuses a stale fetch only at the node that hung, when it hung, and no other answer', () => {
    const hung = () => three().hung({ node: 2, fromMs: 0, toMs: 9 })
    for (const history of [
      hung().fetched([A], { node: 3 }),
      hung().fetched([A], { node: 2, fromMs: 2_000 }),
      hung().latest(2, { node: 2 }),
    ])
      expect(kindsOf(history.drained([A, B, C], { fromMs: 3_000 }))).toEqual(['stale-read'])
  })

  it('excuses a stale fetch at any node in times of unrest, and no other answer', () => {
    const unrest = () => three().unrest({ fromMs: 0, toMs: 9 })
    const ends = { fromMs: 3_000 }
    expect(kindsOf(unrest().fetched([A], { node: 3 }).drained([A, B, C], ends))).toEqual(['stale-fetch'])
    expect(kindsOf(unrest().latest(2, { node: 3 }).drained([A, B, C], ends))).toEqual(['stale-read'])
    const later = unrest().fetched([A], { node: 3, fromMs: 2_000 })
    expect(kindsOf(later.drained([A, B, C], ends))).toEqual(['stale-read'])
  })

  it('excuses the record that was in hand when the partition went', () => {
    const history = three()
      .owned(0, { fromMs: 4, toMs: 50 })
      .assigned({ group: 'g', startOffset: 0, fromMs: 10 })
      .polled([A], { group: 'g', fromMs: 20 })
      .polled([B], { group: 'g', fromMs: 60 })
    expect(kindsOf(history.drained([A, B, C]))).toEqual([])
  })

  it('excuses it also where the partition came back before the member said so, once', () => {
    const wakingUp = () =>
      three()
        .owned(0, { fromMs: 4, toMs: 50 })
        .owned(2, { fromMs: 65, toMs: 90 })
        .assigned({ group: 'g', startOffset: 0, fromMs: 10 })
        .polled([A], { group: 'g', fromMs: 20 })
    const once = wakingUp().polled([B], { group: 'g', fromMs: 60 })
    expect(kindsOf(once.drained([A, B, C], { fromMs: 100 }))).toEqual([])
    const told = wakingUp().assigned({ group: 'g', startOffset: 1, fromMs: 58 })
    const again = told.polled([B], { group: 'g', fromMs: 60 })
    expect(kindsOf(again.drained([A, B, C], { fromMs: 100 }))).toEqual(['committed-again'])
  })

  it('finds what is wrong with the record of a coordinator by itself', () => {
    const given = () =>
      three()
        .owned(0, { fromMs: 4, toMs: 50 })
        .assigned({ group: 'g', startOffset: 0, fromMs: 10 })
        .stored(0)
        .polled([A, B], { group: 'g', fromMs: 20 })
    const back = given().stored(2).stored(1)
    expect(kindsOf(back.drained([A, B, C]))).toEqual(['lost-commit'])
    expect(kindsOf(given().stored(3).drained([A, B, C]))).toEqual(['commit-ahead', 'skipped-record'])
    const unwritten = given().committed(1, { group: 'g' }).committed(2, { group: 'g' }).stored(2)
    expect(kindsOf(unwritten.drained([A, B, C]))).toEqual(['lost-commit'])
  })

  it('keeps partitions apart', () => {
    const history = three()
      .polled([A], { partition: 'p-1' })
      .drained([A, B, C])
      .drained([A], { partition: 'p-1' })
    expect(kindsOf(history)).toEqual(['unexpected'])
  })

  it('measures how far reads are behind', () => {
    const history = new HistoryBuilder().sent('a', 0).sent('b', 1, { fromMs: 10, toMs: 20 })
    history.polled([A], { fromMs: 120 }).polled([B]).drained([A, B])
    expect(checkHistory(history.events).worstLagMs).toBe(100)
  })
})

it('reads a file whose last line was cut off', () => {
  const lines = three()
    .drained([A, B, C])
    .events.map(event => JSON.stringify(event))
  const text = `${lines.join('\n')}\n{"id":99,"type":"inv`
  expect(checkHistory(parseHistory(text)).validity).toBe('valid')
})
