import { crc32c as native } from '@node-rs/crc32'

/** CRC-32C (Castagnoli) as an unsigned 32-bit number, of bytes `start` ... `end` (exclusive) of a buffer. */
export function crc32c(buffer: Uint8Array, start = 0, end = buffer.length): number {
  return native(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end)) >>> 0
}
