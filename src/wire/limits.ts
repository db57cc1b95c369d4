import { NaruError } from '../base/errors.ts'
import { decodeStrictly, LENGTH, type StrictReader } from './strict-reader.ts'

/** Requests that carry records which the node must encode: what one call may cost it in work. */
export const RECORD_REQUEST_BYTES_MAX = 4 * 1024 * 1024
export const RECORD_REQUEST_RECORDS_MAX = 10_000
/** Requests that carry ready batches, which cost the node little more than a checksum. */
export const BATCH_REQUEST_BYTES_MAX = 16 * 1024 * 1024
/** Generated stubs accept 4 MiB; the rest is for what surrounds the records. */
export const CLIENT_FRAME_BYTES_DEFAULT = 3.5 * 1024 * 1024
export const CLIENT_FRAME_BYTES_MIN = 1024
export const CLIENT_FRAME_BYTES_MAX = 16 * 1024 * 1024

/** Requests that may carry records, and where those are. */
const RECORD_PATHS = {
  ProduceRequest: [6],
  ProduceStreamRequest: [3, 5],
} as const

/**
 * Refuses a produce request that is too large, from its raw bytes: nothing is decoded or allocated for it. Returns
 * the number of records in record form (0: ready batches, or nothing).
 */
export function checkProduceSize(message: keyof typeof RECORD_PATHS, bytes: Uint8Array): number {
  if (bytes.length > BATCH_REQUEST_BYTES_MAX)
    throw tooLarge(`${message}: ${bytes.length} bytes, at most ${BATCH_REQUEST_BYTES_MAX}`)
  const count = countFields(message, bytes, RECORD_PATHS[message])
  if (count > RECORD_REQUEST_RECORDS_MAX)
    throw tooLarge(`${message}: ${count} records, at most ${RECORD_REQUEST_RECORDS_MAX}`)
  if (count > 0 && bytes.length > RECORD_REQUEST_BYTES_MAX)
    throw tooLarge(
      `${message}: ${bytes.length} bytes with records, at most ${RECORD_REQUEST_BYTES_MAX} (${BATCH_REQUEST_BYTES_MAX} with ready batches)`,
    )
  return count
}

/** How often the field at `path` (numbers from the outside in, all length-delimited) occurs. */
function countFields(message: string, bytes: Uint8Array, path: readonly number[]): number {
  return decodeStrictly(message, bytes, (reader, end) => countIn(reader, end, path))
}

function countIn(reader: StrictReader, end: number, path: readonly number[]): number {
  const [number, ...rest] = path
  let count = 0
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    if (tag !== (((number as number) << 3) | LENGTH)) reader.skipUnknown(tag)
    else if (rest.length === 0) {
      count++
      reader.skipUnknown(tag)
    } else {
      const inner = reader.enter('entry')
      count += countIn(reader, inner, rest)
      reader.leave()
    }
  }
  return count
}

function tooLarge(what: string): NaruError {
  return new NaruError('REQUEST_TOO_LARGE', `${what}: split it`)
}
