import protobuf from 'protobufjs/minimal.js'
import type { Codec, MessageInit } from './codec.ts'
import { checkedInteger, checkedText, INT32_MAX, INT64_MAX } from './field-values.ts'
import { readMessage, writeMessage } from './message-codec.ts'
import { messageSchema } from './schema.ts'
import { decodeStrictly, type StrictReader } from './strict-reader.ts'

/**
 * Messages that carry records by the megabyte, or are many themselves, have hand-written codecs: no schema walk, no copy on the way in
 * (`bytes` are views), exactly one on the way out (protobufjs's Writer keeps references until `finish` has made one
 * buffer of the right size, which is what gRPC takes). Tests hold them equal to `MessageCodec`.
 *
 * Tags are field number << 3 | wire type: 8, 16, 24 ... are the varints 1, 2, 3; 10, 18, 26 ... the fields 1, 2, 3
 * that have a length.
 */
export interface HotMessage<T> {
  /** `earlier`: the same field came before in this message; protobuf merges the parts. */
  read(reader: StrictReader, end: number, earlier?: T): T
  write(writer: protobuf.Writer, message: MessageInit<T>): void
}

export class HotCodec<T> implements Codec<T> {
  readonly name: string
  readonly #message: HotMessage<T>

  constructor(name: string, message: HotMessage<T>) {
    this.name = name
    this.#message = message
  }

  encode(message: MessageInit<T>): Buffer {
    const writer = protobuf.Writer.create()
    this.#message.write(writer, message)
    return writer.finish() as Buffer
  }

  decode(bytes: Uint8Array): T {
    return decodeStrictly(this.name, bytes, (reader, end) => this.#message.read(reader, end))
  }
}

/** The rare parts of a hot message go through the schema. */
export function coldMessage<T>(name: string): HotMessage<T> {
  return {
    read: (reader, end, earlier) =>
      readMessage(reader, messageSchema(name), end, earlier as Record<string, unknown> | undefined) as T,
    write: (writer, message) => writeMessage(writer, messageSchema(name), message as Record<string, unknown>),
  }
}

/** Reads a length-delimited message whose tag has been read. */
export function readNested<T>(reader: StrictReader, path: string, message: HotMessage<T>, earlier?: T): T {
  const end = reader.enter(path)
  const value = message.read(reader, end, earlier)
  reader.leave()
  return value
}

export function writeNested<T>(
  writer: protobuf.Writer,
  tag: number,
  field: { message: HotMessage<T>; value: MessageInit<T> },
): void {
  writer.uint32(tag).fork()
  field.message.write(writer, field.value)
  writer.ldelim()
}

/** Plain fields, which are left out when they hold their default (NaN is none: it must be refused). */
export function writeText(
  writer: protobuf.Writer,
  tag: number,
  field: { path: string; value: string | undefined },
): void {
  if (field.value) writer.uint32(tag).string(checkedText(field.value, field.path))
}

export function writeInt32(
  writer: protobuf.Writer,
  tag: number,
  field: { path: string; value: number | undefined },
): void {
  if (field.value !== undefined && field.value !== 0)
    writer.uint32(tag).int32(checkedInteger(field.value, field.path, INT32_MAX))
}

export function writeInt64(
  writer: protobuf.Writer,
  tag: number,
  field: { path: string; value: number | undefined },
): void {
  if (field.value !== undefined && field.value !== 0)
    writer.uint32(tag).int64(checkedInteger(field.value, field.path, INT64_MAX))
}

/** A field that may be absent, and is told from one that is 0. */
export function writeOptionalInt64(
  writer: protobuf.Writer,
  tag: number,
  field: { path: string; value: number | undefined },
): void {
  if (field.value !== undefined) writer.uint32(tag).int64(checkedInteger(field.value, field.path, INT64_MAX))
}

/** The message while it is being read. */
export type Draft<T> = {
  -readonly [K in keyof T]: NonNullable<T[K]> extends Uint8Array
    ? T[K]
    : T[K] extends readonly (infer E)[]
      ? E[]
      : T[K]
}
