import type { ErrorDetails } from '../base/errors.ts'

/**
 * Many gRPC stacks refuse a call whose trailers exceed 8 KiB, and then show nothing of its error. The message goes
 * there twice (percent-encoded as grpc-message, and base64 in the details), the facts once.
 */
const MESSAGE_CHARS_MAX = 800
const DETAIL_CHARS_MAX = 400
const DETAILS_CHARS_MAX = 1_600

export function boundedText(text: string, charsMax = MESSAGE_CHARS_MAX): string {
  // toWellFormed's job: a message may quote anything.
  const whole = text.replace(/\p{Surrogate}/gu, '\ufffd')
  return whole.length <= charsMax
    ? whole
    : `${whole.slice(0, charsMax - 3).replace(/\p{Surrogate}$/u, '')}...`
}

/** As many of the facts as fit, in their order. */
export function boundedDetails(details: ErrorDetails): Record<string, string> {
  const kept: Record<string, string> = {}
  let left = DETAILS_CHARS_MAX
  for (const [key, value] of Object.entries(details)) {
    const name = boundedText(key, DETAIL_CHARS_MAX)
    const text = boundedText(value, DETAIL_CHARS_MAX)
    left -= name.length + text.length
    if (left < 0) break
    kept[name] = text
  }
  return kept
}
