import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeProducerSnapshot, encodeProducerSnapshot } from '../../src/log/producer-snapshot-file.ts'
import { type ProducerBatch, ProducerStateTable } from '../../src/log/producer-state.ts'

const SEQUENCE_MAX = 2 ** 31 - 1
const NOW = 1_700_000_000_000

function batch(fields: Partial<ProducerBatch> & { count?: number } = {}): ProducerBatch {
  const { count = 1, ...rest } = fields
  return {
    producerId: 7,
    producerEpoch: 0,
    baseSequence: 0,
    baseOffset: 0,
    lastOffsetDelta: count - 1,
    maxTimestamp: NOW,
    isControl: false,
    ...rest,
  }
}

/** A table with batches of 10 records of one producer, from sequence and offset 0 on. */
function tableWith(batches: number, options = {}): ProducerStateTable {
  const table = new ProducerStateTable(options)
  for (let index = 0; index < batches; index++)
    table.update(batch({ baseSequence: index * 10, baseOffset: index * 10, count: 10 }), NOW)
  return table
}

function reasonOf(run: () => unknown): { reason: string; outcome: string; message: string } {
  try {
    run()
  } catch (error) {
    return error as { reason: string; outcome: string; message: string }
  }
  throw new Error('it was accepted')
}

describe('check', () => {
  it('lets batches without a producer id pass and remembers nothing of them', () => {
    const table = new ProducerStateTable()
    const plain = batch({ producerId: -1, producerEpoch: -1, baseSequence: -1 })
    expect(table.check(plain)).toEqual({ kind: 'append' })
    table.update(plain, NOW)
    expect(table.size).toBe(0)
  })

  it('accepts a new producer at sequence 0 and what follows on', () => {
    const table = tableWith(3)
    expect(table.check(batch({ baseSequence: 30, count: 5 }))).toEqual({ kind: 'append' })
  })

  it('answers a retry of any of the last five batches with its own offsets', () => {
    const table = tableWith(7)
    for (let index = 2; index < 7; index++)
      expect(table.check(batch({ baseSequence: index * 10, count: 10 }))).toMatchObject({
        kind: 'duplicate',
        stored: { baseOffset: index * 10, lastOffset: index * 10 + 9 },
      })
  })

  it('says of a batch further back that it may be stored, not that it is not', () => {
    const error = reasonOf(() => tableWith(7).check(batch({ baseSequence: 10, count: 10 })))
    expect(error).toMatchObject({ reason: 'OUT_OF_ORDER_SEQUENCE', outcome: 'unknown' })
    expect(error.message).toContain('sent sequence 10 where 70 comes next')
  })

  it('does not take a batch that covers other records than the stored one for its retry', () => {
    const table = tableWith(2)
    expect(reasonOf(() => table.check(batch({ baseSequence: 10, count: 4 }))).outcome).toBe('unknown')
    expect(reasonOf(() => table.check(batch({ baseSequence: 10, count: 12 }))).outcome).toBe('unknown')
  })

  it('refuses a gap, certain that nothing was stored', () => {
    const error = reasonOf(() => tableWith(2).check(batch({ baseSequence: 21 })))
    expect(error).toMatchObject({ reason: 'OUT_OF_ORDER_SEQUENCE', outcome: 'none' })
  })

  it('refuses a producer that it does not know unless it starts at 0', () => {
    expect(new ProducerStateTable().check(batch())).toEqual({ kind: 'append' })
    expect(reasonOf(() => new ProducerStateTable().check(batch({ baseSequence: 3 }))).reason).toBe(
      'UNKNOWN_PRODUCER_ID',
    )
  })

  it('fences older epochs, also for what would be a duplicate', () => {
    const table = tableWith(1)
    table.update(batch({ producerEpoch: 1, baseOffset: 10 }), NOW)
    expect(reasonOf(() => table.check(batch({ count: 10 }))).reason).toBe('PRODUCER_FENCED')
  })

  it('lets a newer epoch start at sequence 0 only, and forgets the batches of the old one', () => {
    const table = tableWith(2)
    expect(reasonOf(() => table.check(batch({ producerEpoch: 1, baseSequence: 20 }))).reason).toBe(
      'OUT_OF_ORDER_SEQUENCE',
    )
    const first = batch({ producerEpoch: 1, baseOffset: 20, count: 10 })
    expect(table.check(first)).toEqual({ kind: 'append' })
    table.update(first, NOW)
    expect(table.check({ ...first, baseOffset: 99 })).toMatchObject({
      kind: 'duplicate',
      stored: { baseOffset: 20 },
    })
    expect(reasonOf(() => table.check(batch({ producerEpoch: 1, baseSequence: 20 }))).outcome).toBe('none')
  })

  it('takes from a control batch nothing but its epoch', () => {
    const table = tableWith(2)
    table.update(batch({ baseSequence: -1, baseOffset: 20, isControl: true }), NOW)
    expect(table.check(batch({ baseSequence: 20 }))).toEqual({ kind: 'append' })
    table.update(batch({ producerEpoch: 1, baseSequence: -1, baseOffset: 21, isControl: true }), NOW)
    expect([...table.entries]).toEqual([[7, { epoch: 1, batches: [] }]])
    expect(table.check(batch({ producerEpoch: 1 }))).toEqual({ kind: 'append' })
    expect(reasonOf(() => table.check(batch({ baseSequence: 20 }))).reason).toBe('PRODUCER_FENCED')
  })

  it('goes on from 2^31 - 1 to 0, within a batch and between two', () => {
    const table = new ProducerStateTable()
    table.update(batch({ baseSequence: SEQUENCE_MAX - 4, baseOffset: 100, count: 5 }), NOW)
    expect(table.check(batch({ baseSequence: 0 }))).toEqual({ kind: 'append' })
    expect(reasonOf(() => table.check(batch({ baseSequence: 1 }))).outcome).toBe('none')
    expect(reasonOf(() => table.check(batch({ baseSequence: SEQUENCE_MAX }))).outcome).toBe('unknown')

    const across = new ProducerStateTable()
    across.update(batch({ baseSequence: SEQUENCE_MAX - 1, baseOffset: 100, count: 5 }), NOW)
    expect(across.check(batch({ baseSequence: 3 }))).toEqual({ kind: 'append' })
    expect(across.check(batch({ baseSequence: SEQUENCE_MAX - 1, count: 5 }))).toMatchObject({
      kind: 'duplicate',
      stored: { baseOffset: 100, lastOffset: 104 },
    })
  })

  it('changes nothing by itself', () => {
    const table = new ProducerStateTable()
    table.check(batch())
    expect(table.size).toBe(0)
  })
})

describe('forgetting', () => {
  it('forgets producers that were idle for a day of this node, whatever their records say', () => {
    const table = new ProducerStateTable()
    const day = 24 * 3600 * 1000
    table.update(batch({ maxTimestamp: 0 }), NOW)
    table.update(batch({ producerId: 8 }), NOW + 1000)
    table.expire({ nowMs: NOW + day - 1, expirationMs: day })
    expect(table.size).toBe(2)
    table.expire({ nowMs: NOW + day, expirationMs: day })
    expect([...table.entries].map(([producerId]) => producerId)).toEqual([8])
  })

  it('forgets what lies below the log start, batch by batch', () => {
    const table = tableWith(4)
    table.removeBelow(15)
    expect(reasonOf(() => table.check(batch({ baseSequence: 0, count: 10 }))).outcome).toBe('unknown')
    expect(table.check(batch({ baseSequence: 10, count: 10 })).kind, 'record 15 is still there').toBe(
      'duplicate',
    )
    table.removeBelow(39)
    expect(table.size).toBe(1)
    table.removeBelow(40)
    expect(table.size).toBe(0)
  })

  it('makes room for the newest by forgetting the producer whose last batch is oldest', () => {
    const table = new ProducerStateTable({ producerIdsMax: 2 })
    table.update(batch({ producerId: 1, baseOffset: 0 }), NOW)
    table.update(batch({ producerId: 2, baseOffset: 1 }), NOW)
    table.update(batch({ producerId: 1, baseSequence: 1, baseOffset: 2 }), NOW)
    table.update(batch({ producerId: 3, baseOffset: 3 }), NOW)
    expect([...table.entries].map(([producerId]) => producerId)).toEqual([1, 3])
  })
})

/** The log of a partition: batches of several producers as a leader would have accepted them. */
const logOfBatches = fc
  .array(
    fc.record({
      producerId: fc.integer({ min: 1, max: 4 }),
      count: fc.integer({ min: 1, max: 20 }),
      bumpsEpoch: fc.boolean(),
      restarts: fc.boolean(),
    }),
    { maxLength: 60 },
  )
  .map(steps => {
    const next = new Map<number, { epoch: number; sequence: number }>()
    let offset = 0
    return steps.map(({ producerId, count, bumpsEpoch, restarts }) => {
      const before = next.get(producerId) ?? { epoch: 0, sequence: 0 }
      const now = bumpsEpoch
        ? { epoch: before.epoch + 1, sequence: 0 }
        : restarts
          ? { ...before, sequence: 0 }
          : before
      const made = batch({
        producerId,
        producerEpoch: now.epoch,
        baseSequence: now.sequence,
        baseOffset: offset,
        count,
      })
      next.set(producerId, { epoch: now.epoch, sequence: now.sequence + count })
      offset += count
      return made
    })
  })

it('comes to the same state from the whole log and from a snapshot with the rest of the log', () => {
  fc.assert(
    fc.property(logOfBatches, fc.nat(), fc.nat(), (log, cut, start) => {
      const at = cut % (log.length + 1)
      const logStartOffset = log[start % (at + 1)]?.baseOffset ?? 0
      const replay = (table: ProducerStateTable, batches: readonly ProducerBatch[]) => {
        for (const each of batches) table.update(each, NOW)
        table.removeBelow(logStartOffset)
        return [...table.entries]
      }
      const first = new ProducerStateTable({ producerIdsMax: 3 })
      replay(first, log.slice(0, at))
      const snapshot = encodeProducerSnapshot(first.entries)
      const restarted = new ProducerStateTable({ producerIdsMax: 3 })
      restarted.load(decodeProducerSnapshot(snapshot, 'x.snapshot'), NOW)
      const fromSnapshot = replay(restarted, log.slice(at))

      const rebuilt = new ProducerStateTable({ producerIdsMax: 3 })
      const fromLog = replay(
        rebuilt,
        log.filter(each => each.baseOffset + each.lastOffsetDelta >= logStartOffset),
      )
      expect(fromSnapshot).toEqual(fromLog)
      expect(encodeProducerSnapshot(restarted.entries)).toEqual(encodeProducerSnapshot(rebuilt.entries))
    }),
    { numRuns: 300 },
  )
})
