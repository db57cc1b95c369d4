import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  decodeProducerSnapshot,
  encodeProducerSnapshot,
  readProducerSnapshot,
} from '../../src/log/producer-snapshot-file.ts'
import { ProducerStateTable } from '../../src/log/producer-state.ts'
import { writeFileAtomically } from '../../src/ports/disk.ts'
import { crc32c } from '../../src/records/crc32c.ts'
import { SimMachine } from '../harness/sim-machine.ts'

const SAMPLES = new URL('../data/kafka-batches/', import.meta.url)
const FIXTURE = new URL('../fixtures/formats/v1/producer-state.snapshot', import.meta.url)

const samples = readdirSync(SAMPLES, { withFileTypes: true })
  .filter(entry => entry.isDirectory())
  .flatMap(({ name }) => readdirSync(new URL(`${name}/`, SAMPLES)).map(file => `${name}/${file}`))
  .filter(file => file.endsWith('.snapshot'))

function sample(file: string): Buffer {
  return readFileSync(new URL(file, SAMPLES))
}

describe('snapshots that Kafka wrote', () => {
  it.each(samples)('%s is read, and written again byte for byte', file => {
    const bytes = sample(file)
    const written = encodeProducerSnapshot(decodeProducerSnapshot(bytes, file))
    if (file.startsWith('transactions/')) maskTransactions(bytes)
    expect(written.toString('hex')).toBe(bytes.toString('hex'))
  })

  it('says what its producer sent last', () => {
    expect(decodeProducerSnapshot(sample('rolled/00000000000000001123.snapshot'), 'x')).toEqual([
      [
        6,
        {
          epoch: 0,
          batches: [
            {
              baseSequence: 1122 - 71,
              lastSequence: 1122,
              baseOffset: 1122 - 71,
              lastOffset: 1122,
              timestamp: 0x18bcfe60a2a,
            },
          ],
        },
      ],
    ])
    expect(decodeProducerSnapshot(sample('plain-producer/00000000000000000040.snapshot'), 'x')).toEqual([])
  })
})

/** What Naru does not keep: the two fields of transactions, and the time of a producer without a batch. */
function maskTransactions(bytes: Buffer): void {
  for (let at = 10; at < bytes.length; at += 46) {
    bytes.writeInt32BE(-1, at + 34)
    bytes.writeBigInt64BE(-1n, at + 38)
    if (bytes.readBigInt64BE(at + 14) === -1n) bytes.writeBigInt64BE(-1n, at + 26)
  }
  bytes.writeUInt32BE(crc32c(bytes, 6), 2)
}

function fiveBatches(): ProducerStateTable {
  const table = new ProducerStateTable()
  for (let index = 0; index < 6; index++)
    for (const producerId of [11, 12])
      table.update(
        {
          producerId,
          producerEpoch: 3,
          baseSequence: index * 10,
          baseOffset: index * 20 + (producerId - 11) * 10,
          lastOffsetDelta: 9,
          maxTimestamp: 1_700_000_000_000 + index,
          isControl: false,
        },
        0,
      )
  return table
}

it('keeps five batches of each producer, in the bytes of format version 1', () => {
  const bytes = encodeProducerSnapshot(fiveBatches().entries)
  expect(bytes.equals(readFileSync(FIXTURE))).toBe(true)
  expect(decodeProducerSnapshot(bytes, 'x')).toEqual([...fiveBatches().entries])
})

it('shows a reader that keeps one entry per producer, as Kafka does, the last batch of each', () => {
  const bytes = encodeProducerSnapshot(fiveBatches().entries)
  const last = new Map<bigint, number>()
  for (let at = 10; at < bytes.length; at += 46)
    last.set(bytes.readBigInt64BE(at), bytes.readInt32BE(at + 10))
  expect([...last]).toEqual([
    [11n, 59],
    [12n, 59],
  ])
})

describe('damage', () => {
  const good = encodeProducerSnapshot(fiveBatches().entries)

  it('is found at any bit', () => {
    for (let position = 0; position < good.length; position++) {
      const bad = Buffer.from(good)
      bad[position] = (bad[position] as number) ^ (1 << (position % 8))
      expect(() => decodeProducerSnapshot(bad, 'x.snapshot')).toThrow(/producer snapshot x\.snapshot/)
    }
  })

  it('is found at any length', () => {
    for (let length = 0; length < good.length; length++)
      expect(() => decodeProducerSnapshot(good.subarray(0, length), 'x')).toThrow(/producer snapshot/)
    expect(() => decodeProducerSnapshot(Buffer.concat([good, Buffer.alloc(46)]), 'x')).toThrow(
      /producer snapshot/,
    )
  })
})

it('is read back as it was written', async () => {
  const machine = new SimMachine(1)
  const content = encodeProducerSnapshot(fiveBatches().entries)
  await machine.run(disk => writeFileAtomically(disk, '5.snapshot', content))
  const read = await machine.run(disk => readProducerSnapshot(disk, '5.snapshot'))
  expect(read).toEqual([...fiveBatches().entries])
  expect(await machine.run(disk => readProducerSnapshot(disk, '6.snapshot'))).toBeUndefined()
})
