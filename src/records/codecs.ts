import { NaruError } from '../base/errors.ts'

/** Names as in Kafka's `compression.type`; the place in the list is the code in a batch's attributes. */
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export type Compression = (typeof COMPRESSIONS)[number]

export function compressionOfCode(code: number): Compression {
  const compression = COMPRESSIONS[code]
  if (compression === undefined)
    throw new NaruError(
      'UNSUPPORTED_COMPRESSION',
      `compression code ${code} of the batch is unknown: use one of ${COMPRESSIONS.join(', ')}`,
    )
  return compression
}

export function codeOfCompression(compression: Compression): number {
  return COMPRESSIONS.indexOf(compression)
}
