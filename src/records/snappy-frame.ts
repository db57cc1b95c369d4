import snappy from 'snappy'
import { damaged, tooLarge } from './batch-errors.ts'

/**
 * Snappy as Kafka's Java client writes it, the stream format of snappy-java ("xerial"): a header of 16 bytes,
 * then chunks of a 4-byte big-endian length and a raw Snappy block. Other clients write one raw block: both are
 * read. (Snappy's official framing format is a third one, which Kafka never uses.)
 */
const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const HEADER = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])
/** What snappy-java writes per chunk by default; its reader accepts any. */
const CHUNK_BYTES = 32 * 1024

export function compressXerialSnappy(bytes: Buffer): Buffer {
  const parts: Buffer[] = [HEADER]
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const block = snappy.compressSync(bytes.subarray(at, at + CHUNK_BYTES), { copyOutputData: true })
    const length = Buffer.allocUnsafe(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

export function decompressSnappy(bytes: Buffer, limit: number): Buffer {
  if (!startsStream(bytes, 0)) return decompressBlock(bytes, limit, limit)
  const parts: Buffer[] = []
  let left = limit
  for (let at = 0; at < bytes.length; ) {
    // Streams may follow one another, each with its header.
    if (startsStream(bytes, at)) {
      at += HEADER.length
      continue
    }
    if (at + 4 > bytes.length) throw damaged('snappy', `a chunk length is cut off at byte ${at}`)
    const length = bytes.readInt32BE(at)
    at += 4
    if (length <= 0 || at + length > bytes.length)
      throw damaged('snappy', `a chunk of ${length} bytes at byte ${at} of ${bytes.length}`)
    const block = decompressBlock(bytes.subarray(at, at + length), left, limit)
    left -= block.length
    parts.push(block)
    at += length
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, limit - left)
}

function startsStream(bytes: Buffer, at: number): boolean {
  return (
    at + HEADER.length <= bytes.length && bytes.compare(MAGIC, 0, MAGIC.length, at, at + MAGIC.length) === 0
  )
}

/** A raw block declares its decompressed size in front; the library allocates that much at once. */
function decompressBlock(block: Buffer, left: number, limit: number): Buffer {
  const declared = declaredSize(block)
  // A copy element makes at most 64 bytes of 2 or more: beyond that ratio the declaration is a lie.
  if (declared > block.length * 32)
    throw damaged('snappy', `a block of ${block.length} bytes declares ${declared}`)
  if (declared > left) throw tooLarge('snappy', limit)
  return snappy.uncompressSync(block, { asBuffer: true, copyOutputData: true }) as Buffer
}

function declaredSize(block: Buffer): number {
  let size = 0
  for (let at = 0, scale = 1; at < 5 && at < block.length; at++, scale *= 128) {
    const byte = block[at] as number
    size += (byte & 0x7f) * scale
    if (byte < 0x80) return size
  }
  throw damaged('snappy', 'the size in front of a block is cut off or too long')
}
