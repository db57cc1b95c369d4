import { type ErrorReason, NaruError } from '../base/errors.ts'
import type { Compression } from './codecs.ts'

/** What is wrong with the batch at byte `at` of the bytes in hand. */
export function batchError(reason: ErrorReason, at: number, what: string): NaruError {
  return new NaruError(reason, `batch at byte ${at}: ${what}`, { details: { position: String(at) } })
}

export function damaged(compression: Compression, what: string, cause?: unknown): NaruError {
  return new NaruError('INVALID_BATCH', `the ${compression} data of the batch is damaged: ${what}`, { cause })
}

export function tooLarge(compression: Compression, limit: number): NaruError {
  return new NaruError(
    'RECORD_TOO_LARGE',
    `the ${compression} data of the batch would decompress to more than ${limit} bytes: send smaller batches`,
    { details: { limit: String(limit) } },
  )
}
