import http2 from 'node:http2'
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { Channel } from '../../src/ports/transport.ts'
import { crc32c } from '../../src/records/crc32c.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import type { MessageInit } from '../../src/wire/codec.ts'
import { failureToError } from '../../src/wire/failure.ts'
import { Admin, Consumer, METHODS, Metadata, type Method, Producer } from '../../src/wire/methods.ts'
import { NodeProcess } from '../harness/node-process.ts'
import { failureOf } from '../harness/recorded-stream.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf } from '../harness/service-node.ts'

/**
 * A real node, and everything that nobody should send it: bad input is told what is wrong with it and changes nothing;
 * clients that behave badly cost bounded memory, and one that behaves well does not notice them.
 */
const MIB = 1024 * 1024
/** The answers that may wait on a whole node (512 MiB), the requests, and garbage that is not collected yet. */
const RESIDENT_GROWTH_MAX = 800 * MIB
/** For a call of the client that behaves, on a machine that runs the attacks as well. */
const CALL_MS_MAX = 5_000

let node: NodeProcess
let channel: Channel
let bystander: Bystander

beforeAll(async () => {
  node = await NodeProcess.start({
    settings: {
      'auto.create.topics.enable': false,
      'connections.per.address.max': 3_000,
      'request.bytes.in.flight.max': 32 * MIB,
      'connection.request.bytes.in.flight.max': 16 * MIB,
      'reader.stall.timeout.ms': 2_000,
    },
  })
  channel = new GrpcTransport().connect(node.address)
  await call(Admin.createTopics, { topics: ['logs', 'bystander'].map(topic => ({ topic, partitions: 1 })) })
  bystander = new Bystander()
})

afterAll(async () => {
  await bystander.stop()
  channel.close()
  await node[Symbol.asyncDispose]()
})

async function call<Q, A>(method: Method<Q, A>, request: MessageInit<Q>): Promise<A> {
  const answer = await channel.unary(method.path, method.request.encode(request), { timeoutMs: 10_000 })
  return method.response.decode(answer)
}

/** Produces and reads back, one record after the other, all the time. */
class Bystander {
  count = 0
  slowestMs = 0
  errors: unknown[] = []
  readonly #channel = new GrpcTransport().connect(node.address)
  #isStopped = false
  readonly #running = this.#run()

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const startMs = performance.now()
      try {
        const value = `${this.count}`
        await this.#call(Producer.produce, {
          topic: 'bystander',
          partition: 0,
          records: [{ value: Buffer.from(value) }],
        })
        const { partitions } = await this.#call(Consumer.fetch, {
          partitions: [{ topic: 'bystander', partition: 0, start: { last: 1 } }],
        })
        if (String(partitions[0]?.records[0]?.value) !== value) throw new Error(`${value} is not the last`)
        this.count++
      } catch (error) {
        this.errors.push(error)
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs)
      await turn()
    }
  }

  async #call<Q, A>(method: Method<Q, A>, request: MessageInit<Q>): Promise<A> {
    const bytes = method.request.encode(request)
    return method.response.decode(await this.#channel.unary(method.path, bytes, { timeoutMs: 10_000 }))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
    this.#channel.close()
  }
}

/** Runs an attack; meanwhile the bystander must get on, and the node stay within its memory. */
async function whileOthersGoOn(attack: () => Promise<void>): Promise<void> {
  const before = await node.residentBytes()
  const count = bystander.count
  bystander.slowestMs = 0
  bystander.errors = []
  let peak = 0
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      peak = Math.max(peak, await node.residentBytes())
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  })()
  try {
    await attack()
    await expect.poll(() => bystander.count, { timeout: 20_000 }).toBeGreaterThan(count + 20)
  } finally {
    isOver = true
    await watching
  }
  expect(bystander.errors).toEqual([])
  expect(bystander.slowestMs).toBeLessThan(CALL_MS_MAX)
  expect(peak - before).toBeLessThan(RESIDENT_GROWTH_MAX)
}

function rawSession(options: http2.ClientSessionOptions = {}): http2.ClientHttp2Session {
  const session = http2.connect(`http://${node.address}`, options)
  session.on('error', () => {})
  return session
}

function rawCall(session: http2.ClientHttp2Session, method: { readonly path: string }) {
  const stream = session.request({
    ':method': 'POST',
    ':path': method.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => {})
  return stream
}

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

describe('bad input gets an error that says what is wrong, and changes nothing', () => {
  /** All that a client could change by what follows. */
  async function state() {
    const { topics } = await call(Metadata.get, {})
    const { offsets } = await call(Consumer.listOffsets, { partitions: [{ topic: 'logs' }] })
    const { configs } = await call(Admin.describeConfigs, { topics: ['logs'] })
    return { topics: topics.map(one => one.topic), offsets, configs }
  }

  async function statusOf<Q>(method: Method<Q, unknown>, request: MessageInit<Q>): Promise<NaruError> {
    return failureOf(call(method, request))
  }

  async function ofBatch(batch: Buffer): Promise<NaruError> {
    const { results } = await call(Producer.produce, { topic: 'logs', batches: [{ partition: 0, batch }] })
    return failureToError(results[0]?.failure as never)
  }

  /** The CRC is right for what the batch says now. */
  function resealed(change: (batch: Buffer) => void): Buffer {
    return changed(batch => {
      change(batch)
      batch.writeUInt32BE(crc32c(batch, 21), 17)
    })
  }

  function changed(change: (batch: Buffer) => void): Buffer {
    const batch = batchOf(['a', 'b', 'c'])
    change(batch)
    return batch
  }

  const CASES: ReadonlyArray<readonly [string, () => Promise<NaruError>, string, RegExp]> = [
    [
      'reading an unknown topic',
      async () => {
        const { failures } = await call(Consumer.fetch, { partitions: [{ topic: 'logz', partition: 0 }] })
        return failureToError(failures[0]?.failure as never)
      },
      'UNKNOWN_TOPIC',
      /did you mean "logs".*naru topics create logz/,
    ],
    [
      'producing to an unknown topic',
      () => statusOf(Producer.produce, { topic: 'logz', records: [{}] }),
      'UNKNOWN_TOPIC',
      /did you mean "logs".*naru topics create logz/,
    ],
    [
      'producing to an unknown partition',
      () => statusOf(Producer.produce, { topic: 'logs', partition: 7, records: [{}] }),
      'UNKNOWN_PARTITION',
      /no partition 7: it has 1/,
    ],
    [
      'an unknown setting',
      async () => {
        const changes = [{ topic: 'logs', set: { 'retention.m': '1000' } }]
        const { results } = await call(Admin.alterConfigs, { changes })
        return failureToError(results[0]?.failure as never)
      },
      'UNKNOWN_SETTING',
      /did you mean "retention.ms"/,
    ],
    ...['a/b', '..', 'x'.repeat(250), 'naïve'].map(
      topic =>
        [
          `the name ${topic.slice(0, 10)}`,
          async () => {
            const { results } = await call(Admin.createTopics, { topics: [{ topic }] })
            return failureToError(results[0]?.failure as never)
          },
          'INVALID_TOPIC_NAME',
          /249|a-z|\./,
        ] as const,
    ),
    [
      'a record that is too large',
      async () => {
        const records = [{ value: Buffer.alloc(2 * MIB) }]
        const { results } = await call(Producer.produce, { topic: 'logs', records })
        return failureToError(results[0]?.failure as never)
      },
      'RECORD_TOO_LARGE',
      /max.message.bytes is 1048576/,
    ],
    [
      'a request that is too large',
      () => statusOf(Producer.produce, { topic: 'logs', records: [{ value: Buffer.alloc(17 * MIB) }] }),
      'REQUEST_TOO_LARGE',
      /16777216/,
    ],
    [
      'a flipped bit',
      () => ofBatch(changed(batch => void batch.writeUInt8(~(batch[70] ?? 0) & 0xff, 70))),
      'CORRUPT_BATCH',
      /CRC/,
    ],
    [
      'a wrong magic',
      () => ofBatch(changed(batch => void batch.writeUInt8(1, 16))),
      'INVALID_BATCH',
      /magic/,
    ],
    ['a truncated batch', () => ofBatch(batchOf(['a', 'b']).subarray(0, 60)), 'INVALID_BATCH', /./],
    [
      'a count that its records do not have',
      () =>
        ofBatch(
          resealed(batch => {
            batch.writeInt32BE(3, 23)
            batch.writeInt32BE(4, 57)
          }),
        ),
      'INVALID_BATCH',
      /record/,
    ],
    [
      'a count that its last offset denies',
      () => ofBatch(resealed(batch => void batch.writeInt32BE(4, 57))),
      'INVALID_BATCH',
      /offset/,
    ],
    [
      'a control batch',
      () => ofBatch(resealed(batch => void batch.writeInt16BE(0x20, 21))),
      'INVALID_BATCH',
      /control/,
    ],
    [
      'a compression that nobody knows',
      () => ofBatch(resealed(batch => void batch.writeInt16BE(7, 21))),
      'UNSUPPORTED_COMPRESSION',
      /7/,
    ],
    [
      'two batches as one',
      () => ofBatch(Buffer.concat([batchOf(['a']), batchOf(['b'])])),
      'INVALID_BATCH',
      /more than one/,
    ],
    [
      'an offset that is not there',
      async () => {
        const partitions = [{ topic: 'logs', partition: 0, start: { offset: 99 } }]
        const { failures } = await call(Consumer.fetch, { partitions })
        return failureToError(failures[0]?.failure as never)
      },
      'OFFSET_OUT_OF_RANGE',
      /it holds 0 up to 0/,
    ],
    [
      'a field of a wrong type',
      () => failureOf(channel.unary(Producer.produce.path, Buffer.from([0x08, 0x01]))),
      'INVALID_REQUEST',
      /ProduceRequest: field 1 has a wrong type/,
    ],
    [
      'a method that does not exist',
      () => failureOf(channel.unary('/naru.v1.Producer/Prodcue', Buffer.alloc(0))),
      'NOT_IMPLEMENTED',
      /Prodcue/,
    ],
  ]

  it.each(CASES)('%s', async (_what, send, reason, message) => {
    const before = await state()
    const error = await send()
    expect({ reason: error.reason, outcome: error.outcome }).toEqual({ reason, outcome: 'none' })
    expect(error.message).toMatch(message)
    expect(await state()).toEqual(before)
  })

  it(
    'ten thousand random requests over all methods',
    () =>
      whileOthersGoOn(async () => {
        const prng = new SeededPrng('a client without a stub')
        const before = await state()
        // Without DrainNode: an empty request of it is a good one, and really drains node 0.
        const methods = [...METHODS.values()].filter(
          ({ path }) => path.startsWith('/naru.v1.') && path !== Admin.drainNode.path,
        )
        const errors: unknown[] = []
        const judge = (thrown: unknown) => {
          if (!(thrown instanceof NaruError) || thrown.reason === 'INTERNAL') errors.push(thrown)
        }
        for (let sent = 0; sent < 10_000; sent += 100) {
          await Promise.all(
            Array.from({ length: 100 }, () => {
              const { path, requestStream, responseStream } = prng.pick(methods)
              const bytes = Buffer.from(prng.bytes(prng.uint32() % 48))
              if (!requestStream && !responseStream)
                return channel.unary(path, bytes, { timeoutMs: 10_000 }).catch(judge)
              return new Promise<void>(resolve => {
                const stream = channel.stream(path, { timeoutMs: 10_000 })
                const timer = setTimeout(() => stream.fail(new NaruError('CANCELLED', 'enough')), 50)
                stream.setHandlers({
                  onMessage() {},
                  onClose: error => {
                    clearTimeout(timer)
                    if (error) judge(error)
                    resolve()
                  },
                })
                stream.write(bytes)
              })
            }),
          )
        }
        expect(errors).toEqual([])
        expect(await state()).toEqual(before)
      }),
    60_000,
  )
})

describe('clients that behave badly', () => {
  it(
    'one that never reads what it asks for',
    () =>
      whileOthersGoOn(async () => {
        await call(Admin.createTopics, { topics: [{ topic: 'big', partitions: 1 }] })
        const batch = batchOf(['x'], { valueBytes: 100 * 1024 })
        for (let sent = 0; sent < 128; sent += 8) {
          const batches = Array.from({ length: 8 }, () => ({ partition: 0, batch }))
          await call(Producer.produce, { topic: 'big', batches })
        }
        const read = Consumer.read.request.encode({
          options: { maxFrameBytes: 16 * MIB, format: 'BATCHES' },
          add: [{ topic: 'big' }],
        })
        const sessions = Array.from({ length: 4 }, () =>
          rawSession({ settings: { initialWindowSize: 1024 } }),
        )
        let cut = 0
        for (const session of sessions)
          for (let stream = 0; stream < 100; stream++) {
            const reading = rawCall(session, Consumer.read)
            reading.pause()
            reading.once('close', () => cut++)
            reading.write(framed(Buffer.from(read)))
          }
        await expect.poll(() => cut, { timeout: 30_000 }).toBe(400)
        for (const session of sessions) session.destroy()
      }),
    60_000,
  )

  it(
    'one that asks for unknown topics all the time and never reads the answers',
    () =>
      whileOthersGoOn(async () => {
        const add = Array.from({ length: 5_000 }, (_, index) => ({ topic: `none-${index}` }))
        const message = framed(Buffer.from(Consumer.read.request.encode({ add })))
        const session = rawSession({ settings: { initialWindowSize: 1024 } })
        const stream = rawCall(session, Consumer.read)
        stream.pause()
        for (let sent = 0; sent < 500; sent++) stream.write(message)
        await new Promise(resolve => stream.once('close', resolve))
        session.destroy()
      }),
    60_000,
  )

  it(
    'one that never stops sending',
    () =>
      whileOthersGoOn(async () => {
        const session = rawSession()
        const streams = Array.from({ length: 20 }, () => rawCall(session, Producer.produceStream))
        const batch = batchOf(['x'], { valueBytes: 500 * 1024 })
        const ended = streams.map(
          (stream, index) =>
            new Promise<void>(resolve => {
              stream.resume()
              stream.once('close', resolve)
              let seq = 0
              const send = () => {
                for (;;) {
                  if (++seq > 40) return void stream.end()
                  const entries = [{ topic: index % 2 ? 'logs' : 'none', partition: 0, batch }]
                  const frame = Producer.produceStream.request.encode({ seq, entries })
                  if (!stream.write(framed(Buffer.from(frame)))) return void stream.once('drain', send)
                }
              }
              send()
            }),
        )
        await Promise.all(ended)
        session.destroy()
      }),
    60_000,
  )

  it(
    '2,000 idle connections',
    () =>
      whileOthersGoOn(async () => {
        const [host, port] = node.address.split(':') as [string, string]
        const sockets: net.Socket[] = []
        for (let opened = 0; opened < 2_000; opened += 100)
          await Promise.all(
            Array.from(
              { length: 100 },
              () =>
                new Promise<void>((resolve, reject) => {
                  const socket = net.connect({ host, port: Number(port) }, resolve)
                  socket.on('error', reject)
                  sockets.push(socket)
                }),
            ),
          )
        for (const socket of sockets) socket.destroy()
      }),
    60_000,
  )

  it(
    '5,000 streams that are opened and cancelled',
    () =>
      whileOthersGoOn(async () => {
        const request = framed(Buffer.from(Consumer.read.request.encode({ add: [{ topic: 'bystander' }] })))
        for (let opened = 0; opened < 5_000; opened += 500) {
          const session = rawSession()
          for (let stream = 0; stream < 500; stream += 50) {
            const streams = Array.from({ length: 50 }, () => rawCall(session, Consumer.read))
            for (const one of streams) {
              one.write(request)
              one.close(http2.constants.NGHTTP2_CANCEL)
            }
            await Promise.all(
              streams.map(one => one.closed || new Promise(resolve => one.once('close', resolve))),
            )
          }
          session.destroy()
        }
      }),
    60_000,
  )
})
