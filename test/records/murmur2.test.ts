import { expect, it } from 'vitest'
import { murmur2, partitionForKey } from '../../src/records/murmur2.ts'

/** From the tests of Apache Kafka (UtilsTest.testMurmur2) ... */
const KAFKA: readonly (readonly [string, number])[] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]
/** ... and of librdkafka (rdmurmur2.c). */
const LIBRDKAFKA: readonly (readonly [string, number])[] = [
  ['kafka', 0xd067cf64],
  ['giberish123456789', 0x8f552b0c],
  ['1234', 0x9fc97b14],
  ['234', 0xe7c009ca],
  ['34', 0x873930da],
  ['4', 0x5a4b5ca1],
  ['', 0x106e08d9],
]

it.each([...KAFKA, ...LIBRDKAFKA])('hashes %j as the clients of Kafka do', (key, hash) => {
  expect(murmur2(Buffer.from(key))).toBe(hash | 0)
})

it.each([
  ['21', -973932308],
  ['abc', 479470107],
])('puts key %j where toPositive(hash) modulo the count says', (key, hash) => {
  for (const count of [1, 3, 7, 1000])
    expect(partitionForKey(Buffer.from(key), count)).toBe((hash & 0x7fffffff) % count)
})
