import protobuf from 'protobufjs/minimal.js'
import { unreachable } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { Codec, MessageInit } from './codec.ts'
import { checkedInteger, checkedText, INT32_MAX, INT64_MAX } from './field-values.ts'
import { defaultOf, type FieldSchema, type MessageSchema, messageSchema } from './schema.ts'
import { decodeStrictly, LENGTH, type StrictReader, VARINT } from './strict-reader.ts'

/**
 * The codec of any message, driven by its schema. protobufjs's own decoder reads a field as its declared type
 * whatever the wire says, takes unknown enum numbers and turns int64 into objects, so this one walks the fields
 * itself on protobufjs's Reader and Writer. Messages that carry records by the megabyte have codecs of their own
 * (`hot-codec.ts`) that must agree with it.
 */
export class MessageCodec<T> implements Codec<T> {
  readonly name: string
  #schema: MessageSchema | undefined

  constructor(name: string) {
    this.name = name
  }

  encode(message: MessageInit<T>): Buffer {
    const writer = protobuf.Writer.create()
    writeMessage(writer, this.#resolve(), message as Message)
    return writer.finish() as Buffer
  }

  decode(bytes: Uint8Array): T {
    const schema = this.#resolve()
    return decodeStrictly(this.name, bytes, (reader, end) => readMessage(reader, schema, end) as T)
  }

  #resolve(): MessageSchema {
    this.#schema ??= messageSchema(this.name)
    return this.#schema
  }
}

type Message = Record<string, unknown>

/** Reads up to `end`; into `message` if the field came before, because protobuf merges such parts. */
export function readMessage(
  reader: StrictReader,
  schema: MessageSchema,
  end: number,
  message = emptyMessage(schema),
): Message {
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    const field = schema.byNumber.get(tag >>> 3)
    if (!field) reader.skipUnknown(tag)
    else readField(reader, field, { message, wireType: tag & 7 })
  }
  return message
}

function emptyMessage(schema: MessageSchema): Message {
  const message: Message = { ...schema.defaults }
  for (const name of schema.lists) message[name] = []
  for (const name of schema.maps) message[name] = Object.create(null)
  return message
}

function readField(
  reader: StrictReader,
  field: FieldSchema,
  into: { message: Message; wireType: number },
): void {
  const { message, wireType } = into
  const { name, path } = field
  if (field.type.kind === 'map') {
    if (wireType !== LENGTH) throw wrongType(field)
    readMapEntry(reader, path, message[name] as Record<string, string>)
  } else if (field.rule === 'repeated') {
    const list = message[name] as unknown[]
    if (wireType === LENGTH && wireTypeOf(field) === VARINT) readPacked(reader, field, list)
    else {
      reader.countPart(path)
      list.push(readValue(reader, field, { wireType }))
    }
  } else {
    // To delete what is not there is not free, and a oneof of metadata records has thirteen members.
    for (const rival of field.rivals) if (rival in message) delete message[rival]
    message[name] = readValue(reader, field, { wireType, earlier: message[name] })
  }
}

function readPacked(reader: StrictReader, field: FieldSchema, list: unknown[]): void {
  const end = reader.enter(field.path)
  while (reader.hasMore(end)) {
    reader.countPart(field.path)
    list.push(readValue(reader, field, { wireType: VARINT }))
  }
  reader.leave()
}

function readValue(
  reader: StrictReader,
  field: FieldSchema,
  at: { wireType: number; earlier?: unknown },
): unknown {
  if (at.wireType !== wireTypeOf(field)) throw wrongType(field)
  const { type, path } = field
  switch (type.kind) {
    case 'int32':
      return reader.int32()
    case 'int64':
      return reader.int64(path)
    case 'bool':
      return reader.bool()
    case 'string':
      return reader.string(path)
    case 'bytes':
      return reader.bytes()
    case 'enum':
      return reader.enum(path, type.schema.byNumber)
    case 'message': {
      const end = reader.enter(path)
      const message = readMessage(reader, type.schema, end, at.earlier as Message | undefined)
      reader.leave()
      return message
    }
    case 'map':
      throw wrongType(field)
    default:
      return unreachable(type)
  }
}

function readMapEntry(reader: StrictReader, path: string, map: Record<string, string>): void {
  let key = ''
  let value = ''
  const end = reader.enter(path)
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    if (tag === KEY_TAG) key = reader.string(path)
    else if (tag === VALUE_TAG) value = reader.string(path)
    else reader.skip(tag, path, 2)
  }
  reader.leave()
  map[key] = value
}

function wireTypeOf(field: FieldSchema): number {
  switch (field.type.kind) {
    case 'int32':
    case 'int64':
    case 'bool':
    case 'enum':
      return VARINT
    default:
      return LENGTH
  }
}

function wrongType(field: FieldSchema): NaruError {
  return new NaruError('INVALID_REQUEST', `malformed message: ${field.path} has a wrong type`)
}

const KEY_TAG = (1 << 3) | LENGTH
const VALUE_TAG = (2 << 3) | LENGTH

function isDefault(field: FieldSchema, value: unknown): boolean {
  if (field.type.kind === 'bytes') return (value as Uint8Array).length === 0
  return value === defaultOf(field.type)
}

export function writeMessage(writer: protobuf.Writer, schema: MessageSchema, message: Message): void {
  for (const field of schema.fields) {
    const value = message[field.name]
    if (value === undefined) continue
    if (field.type.kind === 'map') writeMap(writer, field, value as Record<string, string>)
    else if (field.rule === 'repeated') writeRepeated(writer, field, value as readonly unknown[])
    else if (field.rule === 'optional' || !isDefault(field, value)) {
      writer.uint32((field.number << 3) | wireTypeOf(field))
      writeValue(writer, field, value)
    }
  }
}

function writeMap(writer: protobuf.Writer, field: FieldSchema, map: Record<string, string>): void {
  for (const [key, value] of Object.entries(map)) {
    writer.uint32((field.number << 3) | LENGTH).fork()
    writer.uint32(KEY_TAG).string(checkedText(key, field.path))
    writer.uint32(VALUE_TAG).string(checkedText(value, field.path)).ldelim()
  }
}

function writeRepeated(writer: protobuf.Writer, field: FieldSchema, values: readonly unknown[]): void {
  if (values.length === 0) return
  const isPacked = wireTypeOf(field) === VARINT
  if (isPacked) writer.uint32((field.number << 3) | LENGTH).fork()
  for (const value of values) {
    if (!isPacked) writer.uint32((field.number << 3) | LENGTH)
    writeValue(writer, field, value)
  }
  if (isPacked) writer.ldelim()
}

function writeValue(writer: protobuf.Writer, field: FieldSchema, value: unknown): void {
  const { type, path } = field
  switch (type.kind) {
    case 'int32':
      writer.int32(checkedInteger(value, path, INT32_MAX))
      break
    case 'int64':
      writer.int64(checkedInteger(value, path, INT64_MAX))
      break
    case 'bool':
      writer.bool(value as boolean)
      break
    case 'string':
      writer.string(checkedText(value as string, path))
      break
    case 'bytes':
      writer.bytes(value as Uint8Array)
      break
    case 'enum': {
      const number = type.schema.byName.get(value as string)
      if (number === undefined)
        throw new NaruError('INVALID_REQUEST', `${path}: ${String(value)} is no value`)
      writer.int32(number)
      break
    }
    case 'message':
      writer.fork()
      writeMessage(writer, type.schema, value as Message)
      writer.ldelim()
      break
    case 'map':
      break
    default:
      unreachable(type)
  }
}
