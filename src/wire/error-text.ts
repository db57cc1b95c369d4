import type { ErrorDetails } from '../base/errors.ts'

/**
 * Many gRPC stacks refuse a call whose trailers exceed 8 KiB, and then show nothing of its error. The message goes
 * there twice (as grpc-message, where each byte may take three, and in base64), the facts once.
 */
const MESSAGE_BYTES_MAX = 1_000
const DETAIL_BYTES_MAX = 400
const DETAILS_BYTES_MAX = 1_600

export function boundedText(text: string, bytesMax = MESSAGE_BYTES_MAX): string {
  // By way of bytes, which also replaces half of a surrogate pair: a message may quote anything.
  const bytes = Buffer.from(text)
  if (bytes.length <= bytesMax) return bytes.toString()
  // A character that is cut in two shows as replacement characters.
  return `${bytes
    .subarray(0, bytesMax - 3)
    .toString()
    .replace(/\ufffd+$/, '')}...`
}

/** As many of the facts as fit, in their order. */
export function boundedDetails(details: ErrorDetails): Record<string, string> {
  const kept: Record<string, string> = {}
  let left = DETAILS_BYTES_MAX
  for (const [key, value] of Object.entries(details)) {
    const name = boundedText(key, DETAIL_BYTES_MAX)
    const text = boundedText(value, DETAIL_BYTES_MAX)
    left -= Buffer.byteLength(name) + Buffer.byteLength(text)
    if (left < 0) break
    kept[name] = text
  }
  return kept
}
