import { describe, expect, it } from 'vitest'
import { DumpedSegments } from './dumped-segments.ts'

const batch = (isValid: boolean) =>
  `baseOffset: 7 lastOffset: 8 count: 2 baseSequence: 0 lastSequence: 1 producerId: 6 producerEpoch: 0 ` +
  `partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 ` +
  `CreateTime: 1700000002627 size: 120 magic: 2 compresscodec: none crc: 123 isvalid: ${isValid}`
const record = (offset: number) =>
  `| offset: ${offset} CreateTime: 1 keySize: -1 valueSize: 3 sequence: 0 headerKeys: []`

const LOG = 'data/topics/t-0/00000000000000000007.log'

function dump(lines: readonly string[]): DumpedSegments {
  const dumped = new DumpedSegments()
  for (const line of [`Dumping ${LOG}`, 'Log starting offset: 7', ...lines]) dumped.takeLine(line)
  return dumped
}

describe("what Kafka's DumpLogSegments prints", () => {
  it('is counted when it is good, with the false alarm about the first offset of a segment', () => {
    const dumped = dump([
      batch(true),
      record(7),
      record(8),
      `Non-consecutive offsets in ${LOG}`,
      '  -1 is followed by 7',
    ])
    expect(dumped.complaints).toEqual([])
    expect(dumped.files.get(LOG)).toMatchObject({ batches: 1, records: 2, entries: 0, nextOffset: 9 })
  })

  it.each([
    ['a CRC that is wrong', [batch(false)]],
    ['an offset that is missing', [batch(true), record(7), record(9)]],
    ['a gap between batches', [batch(true), `Non-consecutive offsets in ${LOG}`, '  8 is followed by 10']],
    ['a segment that begins too late', [`Non-consecutive offsets in ${LOG}`, '  -1 is followed by 8']],
    ['anything else', ['Mismatches in :data/topics/t-0/00000000000000000007.index']],
  ])('is a complaint when it tells of %s', (_, lines) => {
    expect(dump(lines).complaints).not.toEqual([])
  })
})
