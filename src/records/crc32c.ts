import { crc32c as native } from '@node-rs/crc32'

/** CRC-32C (Castagnoli) as an unsigned 32-bit number, of bytes `start` ... `end` (exclusive) of a buffer. */
export function crc32c(buffer: Uint8Array, start = 0, end = buffer.length): number {
  return native(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end)) >>> 0
}

/** The CRC-32C of what has the CRC-32C `before`, followed by `buffer`. */
export function crc32cAfter(before: number, buffer: Uint8Array): number {
  return native(buffer, before) >>> 0
}
