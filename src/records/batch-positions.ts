import { batchError } from './batch-errors.ts'
import {
  BATCH_BYTES_MAX,
  BATCH_OVERHEAD,
  LOG_OVERHEAD,
  MAGIC,
  magicAt,
  sizeInBytesAt,
} from './batch-header.ts'

/**
 * Where batches start and end in a run of bytes. Only length and magic are looked at: what the batch holds is
 * the matter of `validate-batch.ts`.
 */

/**
 * Size of the batch at `at` if all of it lies before `end`, else 0: more bytes are needed. Throws if what is
 * there cannot be the start of a batch.
 */
function completeBatchSize(buffer: Buffer, at: number, end: number = buffer.length): number {
  if (at + LOG_OVERHEAD > end) return 0
  const size = sizeInBytesAt(buffer, at)
  if (size < BATCH_OVERHEAD || size > BATCH_BYTES_MAX)
    throw batchError(
      'INVALID_BATCH',
      at,
      `its length field says ${size} bytes, a batch has ${BATCH_OVERHEAD} to ${BATCH_BYTES_MAX}`,
    )
  if (at + BATCH_OVERHEAD > end) return 0
  const magic = magicAt(buffer, at)
  if (magic !== MAGIC)
    throw batchError('INVALID_BATCH', at, `its format (magic) is ${magic}, only ${MAGIC} is known`)
  return at + size <= end ? size : 0
}

/** The same where the batch must be all there. */
export function requireBatchSize(buffer: Buffer, at: number, end: number = buffer.length): number {
  if (!(at >= 0 && at <= end && end <= buffer.length))
    throw batchError('INVALID_BATCH', at, `it lies outside the ${buffer.length} bytes given`)
  const size = completeBatchSize(buffer, at, end)
  if (size === 0) throw batchError('INVALID_BATCH', at, `it is cut off after ${end - at} bytes`)
  return size
}

/** Positions of the batches that fill `start` ... `end` without a gap. Throws at one that is not all there. */
export function* batchPositions(
  buffer: Buffer,
  start = 0,
  end: number = buffer.length,
): Generator<number, void, void> {
  for (let at = start; at < end; ) {
    const size = requireBatchSize(buffer, at, end)
    yield at
    at += size
  }
}
