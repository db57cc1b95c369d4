import * as zlib from 'node:zlib'
import { NaruError } from '../base/errors.ts'
import { damaged, tooLarge } from './batch-errors.ts'
import { COMPRESSIONS, type Compression } from './codecs.ts'
import { compressLz4Frame, decompressLz4Frame } from './lz4-frame.ts'
import { compressXerialSnappy, decompressSnappy } from './snappy-frame.ts'
import { compressZstd, decompressZstd, initZstd } from './zstd-frame.ts'

/**
 * Compression of a batch's records, as Kafka's Java client writes and reads it. All synchronous: a batch is
 * small, and an asynchronous native call would take the simulator's control over time away.
 *
 * Decompression never allocates more than its limit (twice that while a library's buffer grows): declared sizes
 * are checked before anything is allocated, and formats that declare none are measured or capped.
 */

/** Default limit. A batch has at most 8 MiB; text compresses about eightfold. A node passes less where it can. */
export const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024

/** Awaited once at the start of a node or SDK: loads what cannot load synchronously (zstd on Node below 22.15). */
export function initCompression(): Promise<void> {
  return initZstd()
}

export function compress(compression: Compression, bytes: Buffer): Buffer {
  switch (compression) {
    case 'none':
      return bytes
    case 'gzip':
      return zlib.gzipSync(bytes)
    case 'snappy':
      return compressXerialSnappy(bytes)
    case 'lz4':
      return compressLz4Frame(bytes)
    case 'zstd':
      return compressZstd(bytes)
    default:
      throw new NaruError(
        'UNSUPPORTED_COMPRESSION',
        `compression "${String(compression)}" is unknown: use one of ${COMPRESSIONS.join(', ')}`,
      )
  }
}

/** Uncompressed bytes come back as they are: a view, not a copy. */
export function decompress(
  compression: Compression,
  bytes: Buffer,
  decompressedBytesMax: number = DECOMPRESSED_BYTES_MAX,
): Buffer {
  try {
    switch (compression) {
      case 'none':
        return bytes
      case 'gzip':
        return gunzip(bytes, decompressedBytesMax)
      case 'snappy':
        return decompressSnappy(bytes, decompressedBytesMax)
      case 'lz4':
        return decompressLz4Frame(bytes, decompressedBytesMax)
      case 'zstd':
        return decompressZstd(bytes, decompressedBytesMax)
    }
  } catch (thrown) {
    if (thrown instanceof NaruError) throw thrown
    throw damaged(compression, thrown instanceof Error ? thrown.message : String(thrown), thrown)
  }
}

function gunzip(bytes: Buffer, limit: number): Buffer {
  try {
    // zlib refuses a limit of 0; one byte too many is caught below.
    const result = zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, limit), chunkSize: 64 * 1024 })
    if (result.length > limit) throw tooLarge('gzip', limit)
    return result
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge('gzip', limit)
    throw thrown
  }
}
