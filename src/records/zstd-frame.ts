import * as zlib from 'node:zlib'
import * as wasm from '@bokuweb/zstd-wasm'
import { NaruError } from '../base/errors.ts'
import { damaged, tooLarge } from './batch-errors.ts'

/**
 * Zstandard frames (RFC 8878). Node's own zlib does the work where it has zstd (from 22.15 on), a WebAssembly
 * build of the reference library elsewhere; that one must be loaded before use (`initZstd`).
 *
 * Each frame's structure is walked first, which costs a few bytes per 128 KiB block: it gives the frame's end
 * (frames may follow one another) and how many bytes it can make at most, so that the library is only ever
 * given room within the limit and never has to grow it.
 */
const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
const SKIPPABLE_MASK = 0xfffffff0
const BLOCK_BYTES_MAX = 128 * 1024
/** The level that Kafka's client uses by default. */
const LEVEL = 3

interface ZlibZstd {
  zstdCompressSync?(bytes: Uint8Array): Buffer
  zstdDecompressSync?(bytes: Uint8Array, options: { maxOutputLength: number }): Buffer
}
const native: ZlibZstd = zlib as unknown as ZlibZstd

/** Whether the library is loaded is a fact of the process, like the library: there is one, for everybody. */
class ZstdLibrary {
  #loading: Promise<void> | undefined
  #isLoaded = native.zstdCompressSync !== undefined && native.zstdDecompressSync !== undefined

  async load(): Promise<void> {
    if (this.#isLoaded) return
    this.#loading ??= wasm.init()
    await this.#loading
    this.#isLoaded = true
  }

  requireLoaded(): void {
    if (!this.#isLoaded)
      throw new NaruError(
        'INTERNAL',
        'zstd is not loaded: await initCompression() at the start of the program',
      )
  }
}
const library = new ZstdLibrary()

export function initZstd(): Promise<void> {
  return library.load()
}

export function compressZstd(bytes: Buffer): Buffer {
  library.requireLoaded()
  return native.zstdCompressSync?.(bytes) ?? asBuffer(wasm.compress(bytes, LEVEL))
}

export function decompressZstd(bytes: Buffer, limit: number): Buffer {
  library.requireLoaded()
  const parts: Buffer[] = []
  let left = limit
  for (let at = 0; at < bytes.length; ) {
    const frame = measureFrame(bytes, at)
    if (frame.isSkippable) {
      at = frame.end
      continue
    }
    if ((frame.contentBytes ?? 0) > left) throw tooLarge('zstd', limit)
    const outputBytesMax = Math.min(frame.contentBytes ?? frame.outputBytesMax, left)
    const part = decompressFrame(bytes.subarray(at, frame.end), outputBytesMax, () =>
      frame.outputBytesMax > left ? tooLarge('zstd', limit) : undefined,
    )
    if (part.length > left) throw tooLarge('zstd', limit)
    left -= part.length
    parts.push(part)
    at = frame.end
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, limit - left)
}

/** A frame that fails with too little room allowed is too large, or damaged: `ifTooSmall` knows which to say. */
function decompressFrame(
  frame: Buffer,
  outputBytesMax: number,
  ifTooSmall: () => NaruError | undefined,
): Buffer {
  // Neither library likes room for nothing.
  const room = Math.max(1, outputBytesMax)
  try {
    if (native.zstdDecompressSync) return native.zstdDecompressSync(frame, { maxOutputLength: room })
    return asBuffer(wasm.decompress(frame, { defaultHeapSize: room }))
  } catch (thrown) {
    throw ifTooSmall() ?? damaged('zstd', 'the library cannot read it', thrown)
  }
}

interface Frame {
  /** Position behind the frame. */
  readonly end: number
  readonly isSkippable: boolean
  /** As declared by the frame, if it does. */
  readonly contentBytes: number | undefined
  /** What its blocks can make at most, whatever it declares. */
  readonly outputBytesMax: number
}

function measureFrame(bytes: Buffer, start: number): Frame {
  if (start + 8 > bytes.length) throw damaged('zstd', `a frame is cut off at byte ${start}`)
  const magic = bytes.readUInt32LE(start)
  if ((magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC) {
    const end = start + 8 + bytes.readUInt32LE(start + 4)
    if (end > bytes.length) throw damaged('zstd', 'a skippable frame is cut off')
    return { end, isSkippable: true, contentBytes: 0, outputBytesMax: 0 }
  }
  if (magic !== MAGIC) throw damaged('zstd', `no frame starts at byte ${start}`)
  const { blocksAt, contentBytes, hasChecksum } = readFrameHeader(bytes, start)
  const blocks = measureBlocks(bytes, blocksAt)
  const end = blocks.end + (hasChecksum ? 4 : 0)
  if (end > bytes.length) throw damaged('zstd', 'the checksum of a frame is cut off')
  if (contentBytes !== undefined && contentBytes > blocks.outputBytesMax)
    throw damaged(
      'zstd',
      `a frame declares ${contentBytes} bytes, its blocks make ${blocks.outputBytesMax} at most`,
    )
  return { end, isSkippable: false, contentBytes, outputBytesMax: blocks.outputBytesMax }
}

function readFrameHeader(
  bytes: Buffer,
  start: number,
): { blocksAt: number; contentBytes: number | undefined; hasChecksum: boolean } {
  const descriptor = bytes[start + 4] as number
  const isSingleSegment = (descriptor & 0x20) !== 0
  const sizeCode = descriptor >> 6
  const dictionaryIdBytes = [0, 1, 2, 4][descriptor & 3] as number
  const sizeBytes = sizeCode === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeCode
  const sizeAt = start + 5 + (isSingleSegment ? 0 : 1) + dictionaryIdBytes
  const blocksAt = sizeAt + sizeBytes
  if (blocksAt > bytes.length) throw damaged('zstd', 'a frame header is cut off')
  return {
    blocksAt,
    contentBytes: sizeBytes === 0 ? undefined : readContentBytes(bytes, sizeAt, sizeBytes),
    hasChecksum: (descriptor & 0x04) !== 0,
  }
}

function readContentBytes(bytes: Buffer, at: number, size: number): number {
  if (size === 1) return bytes.readUInt8(at)
  if (size === 2) return bytes.readUInt16LE(at) + 256
  if (size === 4) return bytes.readUInt32LE(at)
  return bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at)
}

function measureBlocks(bytes: Buffer, start: number): { end: number; outputBytesMax: number } {
  let at = start
  let outputBytesMax = 0
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) throw damaged('zstd', `a block is cut off at byte ${at}`)
    const header = bytes.readUIntLE(at, 3)
    isLast = (header & 1) !== 0
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === 3 || size > BLOCK_BYTES_MAX)
      throw damaged('zstd', `a block of type ${type} and ${size} bytes`)
    // Raw and repeated-byte blocks say what they make; a compressed one makes at most a full block.
    outputBytesMax += type === 2 ? BLOCK_BYTES_MAX : size
    at += 3 + (type === 1 ? 1 : size)
  }
  if (at > bytes.length) throw damaged('zstd', 'the last block of a frame is cut off')
  return { end: at, outputBytesMax }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
