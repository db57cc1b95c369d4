import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { encodeGroupBatch, storedBatches } from '../../../src/drivers/groups/group-batches.ts'
import {
  decodeGroupRecord,
  encodeGroupRecord,
  isMemberKey,
} from '../../../src/drivers/groups/group-record-codec.ts'
import {
  decodeViewState,
  decodeViewValue,
  encodeViewState,
  encodeViewValue,
  foreignRows,
  rowKey,
  viewRange,
  viewStateKey,
} from '../../../src/drivers/groups/group-view-codec.ts'
import type { GroupRecord } from '../../../src/groups/group-record.ts'
import { stampBatch } from '../../../src/records/stamp-batch.ts'
import { groupRecordKey } from '../../groups/group-records.ts'

const FIXTURES = new URL('../../fixtures/formats/v1/groups/', import.meta.url)
const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ'
const otherId = 'AAAAAAAAAAAAAAAAAAAAAg'
const head = { version: 0, group: 'readers' } as const
const viewId = Buffer.from('0123456789abcdef', 'hex')

const RECORDS: GroupRecord[] = [
  {
    type: 'group',
    ...head,
    value: {
      groupEpoch: 7,
      subscriptionEpoch: 5,
      targetEpoch: 6,
      targetAtMs: 1_700_000_000_000,
      assignor: 'uniform',
      idleSinceMs: null,
    },
  },
  {
    type: 'group',
    ...head,
    group: 'idle',
    value: {
      groupEpoch: 1,
      subscriptionEpoch: 0,
      targetEpoch: 0,
      targetAtMs: 0,
      assignor: 'range',
      idleSinceMs: 1_700_000_000_001,
    },
  },
  { type: 'topic', ...head, topicId, value: { name: 'logs', partitionCount: 4, firstPartitionCount: 2 } },
  {
    type: 'member',
    ...head,
    member: 'pod-0',
    value: {
      attachEpoch: 4,
      subscription: { topics: ['logs', 'other'], topicPattern: 'l*' },
      clientId: 'client',
      address: '127.0.0.1:9',
      sessionTimeoutMs: 10_000,
      brokenStreamTimeoutMs: 3_000,
      disconnected: false,
      instance: null,
      replaced: [],
    },
  },
  {
    type: 'member',
    ...head,
    member: 'pod-1',
    value: {
      attachEpoch: 5,
      subscription: { topics: ['logs'], topicPattern: null },
      clientId: '',
      address: '',
      sessionTimeoutMs: 1_000,
      brokenStreamTimeoutMs: 1_000,
      disconnected: false,
      instance: null,
      replaced: [],
    },
  },
  {
    type: 'target',
    ...head,
    member: 'pod-0',
    value: [
      { topicId, partitions: [0, 2] },
      { topicId: otherId, partitions: [1] },
    ],
  },
  {
    type: 'assignment',
    ...head,
    member: 'pod-0',
    value: {
      memberEpoch: 6,
      partitions: [
        { topicId, partition: 2, assignedEpoch: 4, revokingEpoch: null },
        { topicId: otherId, partition: 1, assignedEpoch: 5, revokingEpoch: 6 },
        { topicId, partition: 0, assignedEpoch: 6, revokingEpoch: null },
      ],
    },
  },
  {
    type: 'offset',
    ...head,
    topicId,
    partition: 0,
    value: { nextOffset: 2 ** 40, leaderEpoch: 3, metadata: 'é', committedAtMs: 1_700_000_000_000 },
  },
  {
    type: 'offset',
    ...head,
    topicId,
    partition: 3,
    value: { nextOffset: 0, leaderEpoch: null, metadata: '', committedAtMs: 1_700_000_000_000 },
  },
]
const TOMBSTONES: GroupRecord[] = RECORDS.map(record => ({ ...record, value: null }))

describe('records of __groups', () => {
  test.each([...RECORDS, ...TOMBSTONES].map(record => [groupRecordKey(record), record] as const))(
    '%s is the same again',
    (_key, record) => {
      const { key, value } = encodeGroupRecord(record)
      expect(value === null).toBe(record.value === null)
      expect(decodeGroupRecord(key, value)).toEqual(record)
    },
  )

  test('have equal keys exactly where the core says so', () => {
    const all = [...RECORDS, ...TOMBSTONES]
    const bytes = all.map(record => encodeGroupRecord(record).key.toString('hex'))
    for (const [at, record] of all.entries())
      for (const [other, twin] of all.entries())
        expect(bytes[at] === bytes[other]).toBe(groupRecordKey(record) === groupRecordKey(twin))
  })

  test('are known as those of members by their keys', () => {
    for (const group of ['g', 'é'.repeat(100), 'x'.repeat(255)])
      for (const record of RECORDS) {
        const { key } = encodeGroupRecord({ ...record, group })
        expect(isMemberKey(key)).toBe(record.type === 'member')
      }
  })

  test('of a member whose stream is broken say so, older ones without a word that it is not', () => {
    const [whole] = RECORDS.filter(record => record.type === 'member')
    if (!whole?.value) throw new Error('there is no member')
    const broken: GroupRecord = { ...whole, value: { ...whole.value, disconnected: true } }
    const { key, value } = encodeGroupRecord(broken)
    expect(decodeGroupRecord(key, value)).toEqual(broken)
    expect(encodeGroupRecord(whole).value?.length).toBe((value?.length ?? 0) - 2)
  })

  test('of a member say which process it is, and which ones were before; older ones say nothing', () => {
    const [whole] = RECORDS.filter(record => record.type === 'member')
    if (!whole?.value) throw new Error('there is no member')
    const instance = { id: 'process-3', attempt: 7, round: 2 }
    const named: GroupRecord = {
      ...whole,
      value: { ...whole.value, instance, replaced: ['process-1', 'process-2'] },
    }
    const { key, value } = encodeGroupRecord(named)
    expect(decodeGroupRecord(key, value)).toEqual(named)
  })

  test('of a later release are refused, not guessed at', () => {
    const { key } = encodeGroupRecord(RECORDS[0] as GroupRecord)
    const later = expect.objectContaining({ reason: 'DATA_DIRECTORY_VERSION' })
    const refusalOf = (run: () => unknown) => {
      try {
        return run()
      } catch (thrown) {
        return thrown
      }
    }
    // A key of an unknown kind (field 9); a value of one.
    expect(refusalOf(() => decodeGroupRecord(Buffer.from('0a0167' + '4a00', 'hex'), null))).toEqual(later)
    expect(refusalOf(() => decodeGroupRecord(key, Buffer.from('4a00', 'hex')))).toEqual(later)
  })

  test('of one write are one batch, as it is in the log', () => {
    const batch = encodeGroupBatch([...RECORDS, ...TOMBSTONES.slice(0, 2)], 1_700_000_000_000)
    stampBatch(batch, 0, { baseOffset: 40, leaderEpoch: 2 })
    expect(batch).toEqual(readFileSync(new URL('batch', FIXTURES)))
    const [stored, ...others] = storedBatches({
      buffers: [batch],
      baseOffset: 40,
      nextOffset: 51,
      sizeBytes: 0,
    })
    expect(others).toEqual([])
    expect(stored?.endOffset).toBe(51)
    const decoded = stored?.records.map(({ key, value }) => decodeGroupRecord(key, value))
    expect(decoded).toEqual([...RECORDS, ...TOMBSTONES.slice(0, 2)])
  })

  test('larger than a batch may be are refused with the way out', () => {
    const metadata = 'm'.repeat(4096)
    const value = { nextOffset: 0, leaderEpoch: null, metadata, committedAtMs: 0 }
    const records = Array.from({ length: 2_100 }, (_, partition) => {
      return { type: 'offset', ...head, topicId, partition, value } as const
    })
    expect(() => encodeGroupBatch(records, 0)).toThrow(/split the request/)
  })
})

describe('the view in LevelDB', () => {
  const state = { topicId, viewId, appliedEnd: 2 ** 33, appliedEpoch: 5 }
  const { key: recordKey, value: recordValue } = encodeGroupRecord(RECORDS[7] as GroupRecord)

  test('is these bytes', () => {
    const stateKey = viewStateKey(3)
    const key = rowKey(3, viewId, recordKey)
    const pinned = JSON.parse(readFileSync(new URL('view.json', FIXTURES), 'utf8'))
    expect({
      state: {
        key: stateKey.toString('hex'),
        value: encodeViewValue(stateKey, encodeViewState(state)).toString('hex'),
      },
      row: {
        key: key.toString('hex'),
        value: encodeViewValue(key, recordValue ?? Buffer.alloc(0)).toString('hex'),
      },
    }).toEqual(pinned)
  })

  test('says what it was told', () => {
    const key = viewStateKey(3)
    const content = decodeViewValue(key, encodeViewValue(key, encodeViewState(state)))
    expect(content && decodeViewState(content)).toEqual(state)
    const empty = { ...state, appliedEnd: 0, appliedEpoch: undefined }
    expect(decodeViewState(encodeViewState(empty))).toEqual(empty)
    const later = encodeViewState(state)
    later[0] = 1
    expect(decodeViewState(later)).toBeUndefined()
  })

  test('knows a turned bit in a value, and a value of another key', () => {
    const key = rowKey(3, viewId, recordKey)
    const value = encodeViewValue(key, Buffer.from('value'))
    for (let bit = 0; bit < value.length * 8; bit++) {
      const turned = Buffer.from(value)
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(decodeViewValue(key, turned)).toBeUndefined()
    }
    expect(decodeViewValue(rowKey(2, viewId, recordKey), value)).toBeUndefined()
    expect(decodeViewValue(key, Buffer.from('abc'))).toBeUndefined()
  })

  test('lies in its range, and the rows of others in theirs', () => {
    const within = ({ from, to }: { from: Buffer; to: Buffer }, key: Buffer) =>
      Buffer.compare(from, key) <= 0 && Buffer.compare(key, to) < 0
    const own = rowKey(3, viewId, recordKey)
    const other = rowKey(3, Buffer.alloc(8, 0xff), recordKey)
    const earlier = rowKey(3, Buffer.alloc(8), recordKey)
    for (const key of [viewStateKey(3), own, other, earlier]) expect(within(viewRange(3), key)).toBe(true)
    for (const key of [viewStateKey(4), rowKey(2, viewId, recordKey)])
      expect(within(viewRange(3), key)).toBe(false)
    const isForeign = (key: Buffer) => foreignRows(3, viewId).some(range => within(range, key))
    expect([own, other, earlier, viewStateKey(3), viewStateKey(4)].map(isForeign)).toEqual([
      false,
      true,
      true,
      false,
      false,
    ])
  })
})
