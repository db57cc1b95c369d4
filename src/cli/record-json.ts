import { isUtf8 } from 'node:buffer'

interface RecordLike {
  readonly topic?: string
  readonly partition?: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: Buffer | null | undefined
  readonly value: Buffer | null | undefined
  readonly headers: readonly { readonly key: string; readonly value: Buffer | null | undefined }[]
}

/**
 * A record for `-o json`: text where the bytes are text, else base64 under a name that says so. A key or value
 * that is not there (a tombstone has no value) is null.
 */
export function recordAsJson(record: RecordLike): Record<string, unknown> {
  const { topic, partition, offset, timestampMs } = record
  return {
    ...(topic !== undefined && { topic, partition }),
    offset,
    timestampMs,
    ...bytesAsJson('key', record.key),
    ...bytesAsJson('value', record.value),
    ...(record.headers.length > 0 && {
      headers: record.headers.map(({ key, value }) => ({ key, ...bytesAsJson('value', value) })),
    }),
  }
}

function bytesAsJson(name: string, bytes: Buffer | null | undefined): Record<string, string | null> {
  if (bytes === null || bytes === undefined) return { [name]: null }
  return isUtf8(bytes) ? { [name]: bytes.toString() } : { [`${name}Base64`]: bytes.toString('base64') }
}
