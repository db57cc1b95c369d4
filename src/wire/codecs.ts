import type { Codec } from './codec.ts'
import { MessageCodec } from './message-codec.ts'

const codecs = new Map<string, Codec<unknown>>()

/** The codec of a message by its full name: the hot one if there is one. Costs nothing until it is used. */
export function codecOf<T>(name: string): Codec<T> {
  const known = codecs.get(name)
  if (known) return known as Codec<T>
  const codec = new MessageCodec<T>(name)
  codecs.set(name, codec as Codec<unknown>)
  return codec
}
