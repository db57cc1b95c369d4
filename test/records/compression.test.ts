import * as zlib from 'node:zlib'
import * as zstd from '@bokuweb/zstd-wasm'
import { compressFrameSync } from 'lz4-napi'
import snappy from 'snappy'
import { beforeAll, describe, expect, it } from 'vitest'
import { COMPRESSIONS } from '../../src/records/codecs.ts'
import { compress, decompress, initCompression } from '../../src/records/compression.ts'
import { reasonOf } from './reasons.ts'

beforeAll(async () => {
  await initCompression()
  await zstd.init()
})

const CODECS = COMPRESSIONS.filter(name => name !== 'none')
const TEXT = Buffer.from('the same words again and again, '.repeat(10_000))
const NOISE = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * index * 31) >> 7))

describe.each(CODECS)('%s', codec => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['a block exactly', Buffer.alloc(32 * 1024, 'ab')],
    ['text', TEXT],
    ['noise', NOISE],
    ['two megabytes', Buffer.alloc(2 * 1024 * 1024, 'abc')],
  ])('gives %s back', (_what, bytes) => {
    const packed = compress(codec, bytes)
    expect(decompress(codec, packed).equals(bytes)).toBe(true)
    expect(decompress(codec, packed, bytes.length).equals(bytes)).toBe(true)
  })

  it('stops one byte short of the limit', () => {
    for (const bytes of [TEXT, NOISE, Buffer.alloc(70_000, 'q')]) {
      const packed = compress(codec, bytes)
      expect(reasonOf(() => decompress(codec, packed, bytes.length - 1))).toBe('RECORD_TOO_LARGE')
      expect(reasonOf(() => decompress(codec, packed, 0))).toBe('RECORD_TOO_LARGE')
    }
  })

  it('refuses data that is cut off, anywhere', () => {
    const packed = compress(codec, TEXT.subarray(0, 5000))
    for (let length = 0; length < packed.length; length++) {
      // Snappy's stream has no end mark: cut between chunks it is a shorter stream.
      if (codec === 'snappy' && length === 16) continue
      // A zstd stream is any number of frames, so none at all is an empty stream.
      if (codec === 'zstd' && length === 0) continue
      expect(reasonOf(() => decompress(codec, packed.subarray(0, length)))).toBe('INVALID_BATCH')
    }
  })

  it('does not allocate what a bomb asks for', () => {
    const bomb = compress(codec, Buffer.alloc(48 * 1024 * 1024))
    const before = process.memoryUsage()
    expect(reasonOf(() => decompress(codec, bomb, 100_000))).toBe('RECORD_TOO_LARGE')
    const grownBytes = process.memoryUsage().arrayBuffers - before.arrayBuffers
    expect(grownBytes).toBeLessThan(4 * 1024 * 1024)
  })
})

describe('what other clients write', () => {
  it('snappy: a raw block without frame', () => {
    expect(decompress('snappy', snappy.compressSync(TEXT)).equals(TEXT)).toBe(true)
  })

  it('snappy: streams one after the other', () => {
    const two = Buffer.concat([compress('snappy', TEXT), compress('snappy', NOISE)])
    expect(decompress('snappy', two).equals(Buffer.concat([TEXT, NOISE]))).toBe(true)
  })

  it('lz4: frames with checksums of blocks and content', () => {
    for (const options of [{ contentChecksum: true }, { blockChecksums: true }]) {
      const packed = compressFrameSync(TEXT, options)
      expect(decompress('lz4', packed, TEXT.length).equals(TEXT)).toBe(true)
      packed.writeUInt8(packed.readUInt8(packed.length - 6) ^ 1, packed.length - 6)
      expect(reasonOf(() => decompress('lz4', packed))).toBe('INVALID_BATCH')
    }
  })

  it('lz4: a frame without its content checksum', () => {
    const packed = compressFrameSync(TEXT, { contentChecksum: true })
    for (const missing of [1, 4, 5])
      expect(reasonOf(() => decompress('lz4', packed.subarray(0, -missing)))).toBe('INVALID_BATCH')
  })

  it('gzip: several members', () => {
    const two = Buffer.concat([zlib.gzipSync(TEXT), zlib.gzipSync(NOISE)])
    expect(decompress('gzip', two).equals(Buffer.concat([TEXT, NOISE]))).toBe(true)
  })

  it('zstd: several frames, skippable ones among them', () => {
    const skippable = Buffer.from('502a4d1803000000616263', 'hex')
    const frames = [skippable, compress('zstd', TEXT), skippable, compress('zstd', NOISE)]
    expect(decompress('zstd', Buffer.concat(frames)).equals(Buffer.concat([TEXT, NOISE]))).toBe(true)
  })
})

describe('declared sizes', () => {
  it('snappy: a block that declares 4 GiB', () => {
    const lie = Buffer.from('ffffffff0f0000', 'hex')
    expect(reasonOf(() => decompress('snappy', lie))).toBe('INVALID_BATCH')
  })

  it('zstd: a small frame that declares more than its blocks can make', () => {
    // Single segment, 8-byte content size of 2^40, one empty last raw block.
    const lie = Buffer.from('28b52ffde0' + '0000000000010000' + '010000', 'hex')
    expect(reasonOf(() => decompress('zstd', lie))).toBe('INVALID_BATCH')
  })

  it('zstd: 16 GiB of repeated bytes in half a megabyte', () => {
    const block = Buffer.from('02001000', 'hex')
    const last = Buffer.from('03001000', 'hex')
    const frame = Buffer.concat([
      Buffer.from('28b52ffd0058', 'hex'),
      ...new Array<Buffer>(131_071).fill(block),
      last,
    ])
    expect(reasonOf(() => decompress('zstd', frame, 1_000_000))).toBe('RECORD_TOO_LARGE')
    const small = Buffer.concat([Buffer.from('28b52ffd0058', 'hex'), block, last])
    expect(decompress('zstd', small)).toHaveLength(2 * 128 * 1024)
  })
})
