import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VarintReader, varintSize, varlongSize, writeVarint, writeVarlong } from '../../src/records/varint.ts'

const MAX = Number.MAX_SAFE_INTEGER

/** The definition, spelled out with BigInt. */
function naive(value: number): number[] {
  let zigzag = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value)
  const bytes: number[] = []
  for (; zigzag > 0x7fn; zigzag >>= 7n) bytes.push(Number(zigzag & 0x7fn) | 0x80)
  return [...bytes, Number(zigzag)]
}

function edges(max: number): number[] {
  const all = [0]
  for (let power = 1; power <= max; power *= 2) all.push(power - 1, power, -power, -power - 1, -power + 1)
  return all.filter(value => value >= -max && value <= max)
}

describe('varint', () => {
  const agree = (value: number): void => {
    const buffer = Buffer.alloc(5)
    const end = writeVarint(buffer, 0, value)
    expect([...buffer.subarray(0, end)]).toEqual(naive(value))
    expect(varintSize(value)).toBe(end)
    const reader = new VarintReader(buffer)
    expect(reader.varint()).toBe(value)
    expect(reader.position).toBe(end)
  }

  it('agrees with its definition at every power of two', () => edges(2 ** 31 - 1).forEach(agree))
  it('agrees with its definition anywhere', () => fc.assert(fc.property(fc.integer(), agree)))
  it('goes down to -2^31', () => agree(-(2 ** 31)))
})

describe('varlong', () => {
  const agree = (value: number): void => {
    const buffer = Buffer.alloc(10)
    const end = writeVarlong(buffer, 0, value)
    expect([...buffer.subarray(0, end)]).toEqual(naive(value))
    expect(varlongSize(value)).toBe(end)
    const reader = new VarintReader(buffer)
    expect(reader.varlong()).toBe(value)
    expect(reader.position).toBe(end)
  }

  it('agrees with its definition at every power of two', () => edges(MAX).forEach(agree))
  it('agrees with its definition anywhere', () => fc.assert(fc.property(fc.maxSafeInteger(), agree)))
})

describe('a number that is no number of ours', () => {
  it.each([
    ['cut off', [0x80, 0x80]],
    ['nothing at all', []],
    ['longer than five bytes', [0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['wider than 32 bits', [0xff, 0xff, 0xff, 0xff, 0x1f]],
  ])('varint: %s', (_what, bytes) => {
    const reader = new VarintReader(Uint8Array.from(bytes))
    reader.varint()
    expect(reader.position).toBeNaN()
  })

  it.each([
    ['cut off', [0x80, 0x80]],
    ['nothing at all', []],
    ['longer than ten bytes', [...new Array<number>(10).fill(0x80), 0x01]],
    ['beyond 2^53', [...new Array<number>(8).fill(0xff), 0x01]],
  ])('varlong: %s', (_what, bytes) => {
    const reader = new VarintReader(Uint8Array.from(bytes))
    reader.varlong()
    expect(reader.position).toBeNaN()
  })

  it('takes a needlessly long form, as Kafka does', () => {
    expect(new VarintReader(Uint8Array.of(0x82, 0x00)).varint()).toBe(1)
    expect(new VarintReader(Uint8Array.of(0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00)).varlong()).toBe(1)
  })
})
