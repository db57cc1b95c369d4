import type { Codec } from './codec.ts'
import { groupRecordKey, groupRecordValue } from './group-record-codec.ts'
import { MessageCodec } from './message-codec.ts'
import { produceStreamRequest, produceStreamResponse } from './produce-codec.ts'
import { produceRequest } from './produce-request-codec.ts'
import { fetchResponse, readResponse } from './read-codec.ts'
import { replicateRequest, replicateResponse } from './replicate-codec.ts'

/** Messages with a codec of their own. */
export const HOT_CODECS = [
  produceRequest,
  produceStreamRequest,
  produceStreamResponse,
  readResponse,
  fetchResponse,
  replicateRequest,
  replicateResponse,
  groupRecordKey,
  groupRecordValue,
] as const

const codecs = new Map<string, Codec<unknown>>(HOT_CODECS.map(codec => [codec.name, codec as Codec<unknown>]))

/** The codec of a message by its full name. Costs nothing until it is used. */
export function codecOf<T>(name: string): Codec<T> {
  const known = codecs.get(name)
  if (known) return known as Codec<T>
  const codec = new MessageCodec<T>(name)
  codecs.set(name, codec as Codec<unknown>)
  return codec
}
