import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { loadProtos } from '../../scripts/gen-wire.ts'
import { codecOf } from '../../src/wire/codecs.ts'
import { MessageCodec } from '../../src/wire/message-codec.ts'
import { enumSchema, type MessageSchema, messageSchema } from '../../src/wire/schema.ts'
import { arbitraryMessage, arbitraryOf, MESSAGE_NAMES } from './arbitrary-message.ts'

type Message = Record<string, unknown>

const root = loadProtos(fileURLToPath(new URL('../../proto', import.meta.url)))

describe('every message', () => {
  it.each(MESSAGE_NAMES)('%s is read by protobufjs as it was written', name => {
    const type = root.lookupType(name)
    const codec = codecOf<Message>(name)
    fc.assert(
      fc.property(arbitraryOf(name), message => {
        const plain = (of: protobuf.Message) => type.toObject(of, { defaults: true, longs: String })
        expect(plain(type.decode(codec.encode(message)))).toEqual(
          plain(type.fromObject(forLibrary(name, message))),
        )
      }),
      { numRuns: 25 },
    )
  })

  it.each(MESSAGE_NAMES)('%s is read back as protobufjs wrote it', name => {
    const type = root.lookupType(name)
    const codec = codecOf<Message>(name)
    fc.assert(
      fc.property(arbitraryOf(name), message => {
        const bytes = type.encode(type.fromObject(forLibrary(name, message))).finish()
        expect(codec.decode(bytes)).toEqual(message)
      }),
      { numRuns: 25 },
    )
  })
})

describe('reading', () => {
  const codec = new MessageCodec<Message>('naru.v1.ReadPartition')

  it('takes absent fields as default or undefined', () => {
    expect(codec.decode(Buffer.alloc(0))).toEqual({ topic: '' })
    expect(codec.decode(codec.encode({ partition: 0 }))).toEqual({ topic: '', partition: 0 })
  })

  it('takes fields in any order, and skips unknown ones', () => {
    const unknown = Buffer.from([0x98, 0x06, 0x01, 0xa2, 0x06, 0x02, 0x08, 0x01])
    const parts = [codec.encode({ partition: 3 }), unknown, codec.encode({ topic: 'logs' })]
    expect(codec.decode(Buffer.concat(parts))).toEqual({ topic: 'logs', partition: 3 })
  })

  it('keeps the last member of a oneof, and merges a message that comes in parts', () => {
    const position = (start: Message) => codec.encode({ start })
    expect(codec.decode(Buffer.concat([position({ offset: 7 }), position({ last: 3 })]))).toEqual({
      topic: '',
      start: { last: 3 },
    })
  })

  it('reads lists of numbers packed or not', () => {
    const list = new MessageCodec<Message>('naru.v1.ReplicaList')
    expect(list.decode(Buffer.from([0x08, 1, 0x0a, 2, 2, 3, 0x08, 4]))).toEqual({ nodeIds: [1, 2, 3, 4] })
  })

  it('gives views of the bytes, not copies', () => {
    const bytes = new MessageCodec<Message>('naru.v1.Header').encode({ key: 'k', value: Buffer.from('abc') })
    const header = new MessageCodec<{ value: Buffer }>('naru.v1.Header').decode(bytes)
    bytes.write('xyz', bytes.length - 3)
    expect(header.value.toString()).toBe('xyz')
  })

  it('keeps a map key that names a property of all objects', () => {
    const topic = new MessageCodec<Message>('naru.v1.NewTopic')
    const settings = JSON.parse('{"__proto__": "x", "constructor": "y"}')
    const read = topic.decode(topic.encode({ settings }))
    expect(Object.entries(read['settings'] as object)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
  })
})

describe('bad bytes', () => {
  const cases: [string, string, Buffer, RegExp][] = [
    ['a wrong wire type', 'TopicPartition', Buffer.from([0x08, 1]), /TopicPartition\.topic/],
    ['an unknown enum value', 'Position', Buffer.from([0x08, 9]), /Position\.at: 9/],
    [
      'text that is not UTF-8',
      'TopicPartition',
      Buffer.from([0x0a, 1, 0xff]),
      /TopicPartition\.topic: not UTF-8/,
    ],
    ['a field that is cut off', 'TopicPartition', Buffer.from([0x0a, 9, 0x61]), /TopicPartition/],
    ['a message that is cut off', 'ReadPartition', Buffer.from([0x22, 9, 0x10]), /ReadPartition\.start/],
    ['an endless varint', 'TopicPartition', Buffer.alloc(20, 0xff), /TopicPartition/],
    ['field number 0', 'TopicPartition', Buffer.from([0x00, 0x00]), /field number 0/],
    [
      'a field that is longer than its message',
      'ReadPartition',
      Buffer.from([0x22, 1, 0x10, 1, 1]),
      /longer/,
    ],
  ]

  it.each(cases)('%s is INVALID_REQUEST and says where', (_what, name, bytes, message) => {
    const decode = () => new MessageCodec(`naru.v1.${name}`).decode(bytes)
    expect(decode).toThrowError(expect.objectContaining({ reason: 'INVALID_REQUEST' }))
    expect(decode).toThrowError(message)
  })

  it.each(['9007199254740992', '-9007199254740992', '9223372036854775807'])('refuses the int64 %s', text => {
    const bytes = protobuf.Writer.create()
      .uint32(16)
      .int64(text as never)
      .finish()
    expect(() => new MessageCodec('naru.v1.Position').decode(bytes)).toThrowError(/Position\.offset/)
  })

  it('bounds what a small message may allocate', () => {
    const bytes = Buffer.alloc(2 * 300_000)
    for (let at = 0; at < bytes.length; at += 2) bytes[at] = 0x0a
    expect(() => new MessageCodec('naru.v1.MetadataGetRequest').decode(bytes)).toThrowError(
      /more than 250000/,
    )
    expect(() => codecOf('naru.v1.ProduceStreamResponse').decode(bytes)).toThrowError(/more than 250000/)
  })

  it('bounds nesting of unknown groups', () => {
    expect(() => codecOf('naru.v1.TopicPartition').decode(Buffer.alloc(100_000, 0x9b))).toThrowError(
      expect.objectContaining({ reason: 'INVALID_REQUEST' }),
    )
  })
})

describe('writing', () => {
  it.each([
    ['naru.v1.TopicPartition', { partition: 2 ** 31 }],
    ['naru.v1.TopicPartition', { partition: Number.NaN }],
    ['naru.v1.Position', { offset: 2 ** 53 }],
    ['naru.v1.TopicPartition', { topic: '\ud800' }],
    ['naru.v1.Position', { at: 'SOMEWHERE' }],
    ['naru.v1.ProduceRequest', { acks: 'SOME' }],
    ['naru.v1.ProduceRequest', { partition: 0.5 }],
  ])('%s refuses %o', (name, message) => {
    expect(() => codecOf<Message>(name).encode(message)).toThrowError(
      expect.objectContaining({ reason: 'INVALID_REQUEST' }),
    )
  })
})

describe('hostile input', () => {
  it.each(MESSAGE_NAMES)('%s never fails otherwise than with INVALID_REQUEST', name => {
    const codec = codecOf<Message>(name)
    const valid = arbitraryMessage(messageSchema(name), 2).map(message => codec.encode(message))
    const mutated = fc
      .tuple(
        valid,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        fc.nat(),
      )
      .map(([bytes, changes, cut]) => {
        const bad = Buffer.from(bytes)
        for (const [at, value] of changes) if (bad.length > 0) bad[at % bad.length] = value
        return cut % 3 === 0 ? bad.subarray(0, cut % (bad.length + 1)) : bad
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), mutated), bytes => {
        expect(outcomeOf(() => codec.decode(bytes))).toMatch(/^(read|INVALID_REQUEST)$/)
      }),
      { numRuns: 60 },
    )
  })
})

function outcomeOf(decode: () => unknown): string {
  try {
    decode()
    return 'read'
  } catch (error) {
    return (error as { reason?: string }).reason ?? String(error)
  }
}

/** What protobufjs's fromObject takes for the same message. */
function forLibrary(name: string, message: Message): Message {
  return convert(messageSchema(name), message)
}

function convert(schema: MessageSchema, message: Message): Message {
  const out: Message = {}
  for (const { name, type, rule } of schema.fields) {
    const value = message[name]
    if (value === undefined) continue
    const one = (item: unknown): unknown => {
      if (type.kind === 'enum') return enumSchema(type.schema.name).byName.get(item as string)
      if (type.kind === 'int64') return String(item)
      return type.kind === 'message' ? convert(type.schema, item as Message) : item
    }
    const key = schema.name === 'google.protobuf.Any' && name === 'typeUrl' ? 'type_url' : name
    out[key] = rule === 'repeated' ? (value as unknown[]).map(one) : one(value)
  }
  return out
}
