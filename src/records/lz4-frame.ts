import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import { damaged, tooLarge } from './batch-errors.ts'

/**
 * LZ4 frames (lz4_Frame_format.md of the LZ4 project), as Kafka's Java client writes and reads them: independent
 * blocks. The library decodes; but it has no limit and takes a frame that is cut off for a short one, so the
 * frame is measured first: a cheap walk over the block lengths, and over the sequences only if that bound is not
 * tight enough.
 */
const MAGIC = 0x184d2204
const VERSION_MASK = 0xc0
const VERSION = 0x40
const BLOCK_CHECKSUM = 0x10
const CONTENT_SIZE = 0x08
const CONTENT_CHECKSUM = 0x04
const DICTIONARY_ID = 0x01
const STORED = 0x80000000
/** No sequence makes more than 255 bytes of one. */
const RATIO_MAX = 255

export function compressLz4Frame(bytes: Buffer): Buffer {
  return compressFrameSync(bytes)
}

export function decompressLz4Frame(bytes: Buffer, limit: number): Buffer {
  const frame = measureFrame(bytes, blockBound)
  if (frame.outputBytes > limit && measureFrame(bytes, exactBlockSize).outputBytes > limit)
    throw tooLarge('lz4', limit)
  const output = decompressFrameSync(bytes.subarray(0, frame.sizeInBytes))
  if (output.length > limit) throw tooLarge('lz4', limit)
  return output
}

type BlockMeasure = (bytes: Buffer, block: { start: number; end: number; outputBytesMax: number }) => number

/** Size of the frame, and what `measure` makes of its blocks in total. Throws unless its end mark is there. */
function measureFrame(bytes: Buffer, measure: BlockMeasure): { sizeInBytes: number; outputBytes: number } {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== MAGIC) throw damaged('lz4', 'it starts no LZ4 frame')
  const flags = bytes[4] as number
  if ((flags & VERSION_MASK) !== VERSION) throw damaged('lz4', 'the version of the frame is unknown')
  const blockCode = ((bytes[5] as number) >> 4) & 7
  if (blockCode < 4) throw damaged('lz4', `block size code ${blockCode} of the frame is unknown`)
  const blockBytesMax = 1 << (8 + 2 * blockCode)
  const trailerBytes = (flags & BLOCK_CHECKSUM) === 0 ? 0 : 4
  let at = 7 + ((flags & CONTENT_SIZE) === 0 ? 0 : 8) + ((flags & DICTIONARY_ID) === 0 ? 0 : 4)
  let outputBytes = 0
  for (;;) {
    if (at + 4 > bytes.length) throw damaged('lz4', `the frame is cut off at byte ${bytes.length}`)
    const word = bytes.readUInt32LE(at)
    at += 4
    if (word === 0) break
    const size = word & ~STORED
    if (size > blockBytesMax)
      throw damaged('lz4', `a block of ${size} bytes, where ${blockBytesMax} is the most`)
    if (at + size + trailerBytes > bytes.length) throw damaged('lz4', `a block is cut off at byte ${at}`)
    const isStored = word >= STORED
    outputBytes += isStored
      ? size
      : measure(bytes, { start: at, end: at + size, outputBytesMax: blockBytesMax })
    at += size + trailerBytes
  }
  at += (flags & CONTENT_CHECKSUM) === 0 ? 0 : 4
  if (at > bytes.length) throw damaged('lz4', 'the content checksum is cut off')
  return { sizeInBytes: at, outputBytes }
}

const blockBound: BlockMeasure = (_bytes, { start, end, outputBytesMax }) =>
  Math.min(outputBytesMax, (end - start) * RATIO_MAX)

/** Walks the sequences of a block: token, literals, match; the last one has only literals. */
const exactBlockSize: BlockMeasure = (bytes, { start, end, outputBytesMax }) => {
  let at = start
  let output = 0
  const longLength = (nibble: number): number => {
    let length = nibble
    if (nibble !== 15) return length
    for (let byte = 255; byte === 255; ) {
      if (at >= end) throw damaged('lz4', `a length is cut off at byte ${at}`)
      byte = bytes[at++] as number
      length += byte
    }
    return length
  }
  while (at < end) {
    const token = bytes[at++] as number
    const literals = longLength(token >> 4)
    at += literals
    output += literals
    if (at >= end) break
    at += 2
    output += longLength(token & 15) + 4
    if (output > outputBytesMax)
      throw damaged('lz4', `a block decompresses to more than ${outputBytesMax} bytes`)
  }
  return output
}
