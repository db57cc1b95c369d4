import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HOT_CODECS } from '../../src/wire/codecs.ts'
import { MessageCodec } from '../../src/wire/message-codec.ts'
import { Consumer, Producer } from '../../src/wire/methods.ts'
import { arbitraryOf } from './arbitrary-message.ts'

type Message = Record<string, unknown>

describe.each(HOT_CODECS.map(codec => [codec.name, codec] as const))('%s', (name, codec) => {
  const plain = new MessageCodec<Message>(name)

  it('is written byte for byte as by the schema', () => {
    fc.assert(
      fc.property(arbitraryOf(name), message => {
        expect(codec.encode(message as never)).toEqual(plain.encode(message as never))
      }),
    )
  })

  it('is read as by the schema, in any order of fields and with bad bytes', () => {
    const encoded = fc.array(arbitraryOf(name), { minLength: 1, maxLength: 3 }).map(parts =>
      // Parts of one message one after the other are that message with its fields out of order and repeated.
      Buffer.concat(parts.map(part => plain.encode(part as never))),
    )
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 })
    fc.assert(
      fc.property(encoded, changes, (bytes, pokes) => {
        for (const [at, value] of pokes) if (bytes.length > 0) bytes[at % bytes.length] = value
        expect(outcomeOf(() => codec.decode(bytes))).toEqual(outcomeOf(() => plain.decode(bytes)))
      }),
      { numRuns: 300 },
    )
  })
})

describe('batches', () => {
  it('of a produce frame are views of what was received', () => {
    const batch = Buffer.from('a batch')
    const bytes = Producer.produceStream.request.encode({
      seq: 1,
      entries: [{ topic: 'logs', partition: 2, batch }],
    })
    const frame = Producer.produceStream.request.decode(bytes)
    bytes.write('A BATCH', bytes.length - batch.length)
    expect(frame.entries[0]?.batch?.toString()).toBe('A BATCH')
  })

  it('of a frame to a consumer are copied once, into the buffer that is sent', () => {
    const batches = [Buffer.from('first'), Buffer.from('second')]
    const bytes = Consumer.read.response.encode({
      records: [{ topic: 'logs', partition: 1, batches, nextOffset: 9, highWatermark: 9 }],
    })
    batches[0]?.fill(0)
    expect(Consumer.read.response.decode(bytes).records[0]?.batches.map(String)).toEqual(['first', 'second'])
    expect(bytes.length).toBeLessThan(11 + 40)
  })
})

function outcomeOf(decode: () => unknown): unknown {
  try {
    return decode()
  } catch (error) {
    return (error as { reason?: string }).reason ?? error
  }
}
