import { assert } from '../base/assert.ts'
import { SCHEMA } from './generated/schema.ts'

/**
 * The fields of every message, read from the generated table when they are first asked for. A line of it:
 *
 *     enum <full name> <number>:<name> ...
 *     message <full name> <number>:<name>:<type><mark> ...
 *
 * The mark: none = always there (a default stands for what is absent), `?` = optional, `*` = repeated,
 * `|name` = member of that oneof. The type: int32, int64, bool, string, bytes, map (of string to string), or the
 * full name of an enum or message.
 */
export interface MessageSchema {
  readonly name: string
  readonly fields: readonly FieldSchema[]
  readonly byNumber: ReadonlyMap<number, FieldSchema>
  /** What stands for plain fields that are absent. */
  readonly defaults: Readonly<Record<string, unknown>>
  /** Names of the fields that begin as an empty list, or map. */
  readonly lists: readonly string[]
  readonly maps: readonly string[]
}

export interface FieldSchema {
  readonly number: number
  readonly name: string
  /** For error messages: `ProduceRequest.records`. */
  readonly path: string
  readonly type: FieldType
  readonly rule: 'plain' | 'optional' | 'repeated'
  /** Other members of its oneof. */
  readonly rivals: readonly string[]
}

export type FieldType =
  | { readonly kind: 'int32' | 'int64' | 'bool' | 'string' | 'bytes' | 'map' }
  | { readonly kind: 'enum'; readonly schema: EnumSchema }
  | { readonly kind: 'message'; readonly schema: MessageSchema }

export interface EnumSchema {
  readonly name: string
  readonly byName: ReadonlyMap<string, number>
  readonly byNumber: ReadonlyMap<number, string>
}

export function messageSchema(name: string): MessageSchema {
  const known = messages.get(name)
  if (known) return known
  const words = lineOf('message', name)
  const fields: FieldSchema[] = []
  const byNumber = new Map<number, FieldSchema>()
  // Known before its fields are: a message may hold its own kind.
  const defaults: Record<string, unknown> = {}
  const lists: string[] = []
  const maps: string[] = []
  const schema = { name, fields, byNumber, defaults, lists, maps }
  messages.set(name, schema)
  const oneofs = words.map(word => word.split('|')[1])
  for (const word of words) {
    const field = fieldSchema(name, word, { words, oneofs })
    fields.push(field)
    byNumber.set(field.number, field)
    if (field.type.kind === 'map') maps.push(field.name)
    else if (field.rule === 'repeated') lists.push(field.name)
    else if (field.rule === 'plain') defaults[field.name] = defaultOf(field.type)
  }
  return schema
}

/** Undefined for messages, which have none. */
export function defaultOf(type: FieldType): unknown {
  switch (type.kind) {
    case 'int32':
    case 'int64':
      return 0
    case 'bool':
      return false
    case 'string':
      return ''
    case 'bytes':
      return NO_BYTES
    case 'enum':
      return type.schema.byNumber.get(0)
    default:
      return undefined
  }
}

const NO_BYTES = Buffer.alloc(0)

export function enumSchema(name: string): EnumSchema {
  const known = enums.get(name)
  if (known) return known
  const pairs = lineOf('enum', name).map(word => {
    const [number, value] = word.split(':') as [string, string]
    return [value, Number(number)] as const
  })
  const schema = {
    name,
    byName: new Map(pairs),
    byNumber: new Map(pairs.map(([value, number]) => [number, value])),
  }
  enums.set(name, schema)
  return schema
}

const messages = new Map<string, MessageSchema>()
const enums = new Map<string, EnumSchema>()
/** `message naru.v1.Record` -> its words. */
const lines: ReadonlyMap<string, string> = new Map(
  SCHEMA.trim()
    .split('\n')
    .map(line => {
      const end = line.indexOf(' ', line.indexOf(' ') + 1)
      return end === -1 ? [line, ''] : [line.slice(0, end), line.slice(end + 1)]
    }),
)

function lineOf(kind: 'message' | 'enum', name: string): string[] {
  const words = lines.get(`${kind} ${name}`)
  assert(words !== undefined, `there is no ${kind} ${name} in proto/`)
  return words === '' ? [] : words.split(' ')
}

function fieldSchema(
  message: string,
  word: string,
  all: { words: string[]; oneofs: (string | undefined)[] },
): FieldSchema {
  const [number, name, rest] = word.split(':') as [string, string, string]
  const [type, oneof] = rest.split('|') as [string, string | undefined]
  const rivals = all.words
    .filter((other, index) => oneof !== undefined && all.oneofs[index] === oneof && other !== word)
    .map(other => other.split(':')[1] as string)
  const mark = oneof === undefined ? type.at(-1) : '?'
  return {
    number: Number(number),
    name,
    path: `${message.slice(message.lastIndexOf('.') + 1)}.${name}`,
    type: fieldType(type.replace(/[?*]$/, '')),
    rule: mark === '*' ? 'repeated' : mark === '?' ? 'optional' : 'plain',
    rivals,
  }
}

function fieldType(type: string): FieldType {
  if (SCALARS.has(type)) return { kind: type as 'int32' }
  if (lines.has(`enum ${type}`)) return { kind: 'enum', schema: enumSchema(type) }
  return { kind: 'message', schema: messageSchema(type) }
}

const SCALARS = new Set(['int32', 'int64', 'bool', 'string', 'bytes', 'map'])
