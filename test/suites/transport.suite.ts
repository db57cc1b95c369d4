import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type {
  CallContext,
  Channel,
  ChannelOptions,
  MessageStream,
  ServiceHandler,
  ServiceHandlers,
} from '../../src/ports/transport.ts'
import { bytesOf, failureOf, Recorded, until, writeUntilFull } from '../harness/recorded-stream.ts'

/** What every form of the Transport port promises; the real ones and the simulated one run it. */
export interface TransportUnderTest {
  connect(options?: ChannelOptions): Channel
  close(): Promise<void> | void
}

export type TransportFactory = (
  handlers: ServiceHandlers,
  limits: { receiveMessageBytesMax: number },
) => Promise<TransportUnderTest>

const KIB = 1024
const MIB = 1024 * KIB
const RECEIVE_BYTES_MAX = 2 * MIB

export function transportSuite(name: string, factory: TransportFactory): void {
  describe(`${name} as a Transport`, () => {
    const server = new TestServer()
    let transport: TransportUnderTest
    let channel: Channel

    beforeEach(async () => {
      server.reset()
      transport = await factory(server.handlers, { receiveMessageBytesMax: RECEIVE_BYTES_MAX })
      channel = transport.connect()
    })

    afterEach(async () => {
      channel.close()
      await transport.close()
    })

    describe('unary calls', () => unaryTests(server, () => channel))
    describe('streams', () => streamTests(server, () => channel))
    describe('limits', () =>
      limitTests(
        server,
        () => channel,
        options => transport.connect(options),
      ))
    describe('ends', () => endTests(server, () => channel))
  })
}

/** Handlers that a test sets, behind methods that exist from the start. */
class TestServer {
  unary: (request: Buffer, context: CallContext) => Promise<Uint8Array> = async request => request
  stream: (stream: MessageStream, context: CallContext) => void = () => {}
  readonly handlers: ServiceHandlers = new Map<string, ServiceHandler>([
    ['/test.Service/Call', { kind: 'unary', handle: (request, context) => this.unary(request, context) }],
    ['/test.Service/Stream', { kind: 'stream', handle: (stream, context) => this.stream(stream, context) }],
  ])

  reset(): void {
    this.unary = async request => request
    this.stream = () => {}
  }

  /** The server's end of the next stream. */
  next(): Promise<Recorded> {
    return new Promise(resolve => {
      this.stream = stream => resolve(new Recorded(stream))
    })
  }
}

const CALL = '/test.Service/Call'
const STREAM = '/test.Service/Stream'

function unaryTests(server: TestServer, channel: () => Channel): void {
  it('carry bytes both ways', async () => {
    server.unary = async request => Buffer.concat([Buffer.from('got '), request])
    expect((await channel().unary(CALL, Buffer.from('this'))).toString()).toBe('got this')
  })

  it('carry empty messages', async () => {
    expect((await channel().unary(CALL, Buffer.alloc(0))).length).toBe(0)
  })

  it('share no bytes between the two sides', async () => {
    let seen: Buffer | undefined
    server.unary = async request => {
      seen = request
      return request
    }
    const request = Buffer.from('mine')
    const answer = await channel().unary(CALL, request)
    seen?.fill(0)
    expect(request.toString()).toBe('mine')
    expect(answer.toString()).toBe('mine')
  })

  it('take a Uint8Array that is a part of a larger buffer', async () => {
    const whole = new Uint8Array([9, 1, 2, 9])
    expect([...(await channel().unary(CALL, whole.subarray(1, 3)))]).toEqual([1, 2])
  })

  it('carry metadata, the peer and the deadline to the handler', async () => {
    let seen: CallContext | undefined
    server.unary = async (request, context) => {
      seen = context
      return request
    }
    await channel().unary(CALL, Buffer.alloc(1), { metadata: { 'naru-direct': '1' }, timeoutMs: 60_000 })
    expect(seen?.metadata['naru-direct']).toBe('1')
    expect(seen?.peer).not.toBe('')
    expect(seen?.timeoutMs).toBeGreaterThan(50_000)
    expect(seen?.timeoutMs).toBeLessThanOrEqual(60_000)
  })

  it('fail with the reason, outcome and facts of the error', async () => {
    server.unary = async () => {
      throw new NaruError('NOT_LEADER', 'node 2 leads "logs" 3 (한글)', {
        details: { topic: 'logs', leader: '2' },
        retryAfterMs: 250,
      })
    }
    const error = await failureOf(channel().unary(CALL, Buffer.alloc(1)))
    expect(error.reason).toBe('NOT_LEADER')
    expect(error.message).toContain('node 2 leads "logs" 3 (한글)')
    expect(error.details).toMatchObject({ topic: 'logs', leader: '2' })
    expect(error.retryAfterMs).toBe(250)
    expect(error.retriable).toBe(true)
    expect(error.outcome).toBe('none')
  })

  it('fail with INTERNAL on an accident in the handler, without its text', async () => {
    server.unary = async () => {
      throw new TypeError('secret detail')
    }
    const error = await failureOf(channel().unary(CALL, Buffer.alloc(1)))
    expect(error.reason).toBe('INTERNAL')
    expect(error.message).not.toContain('secret')
  })

  it('fail with a reason on a method that nobody serves', async () => {
    const error = await failureOf(channel().unary('/test.Service/Nothing', Buffer.alloc(1)))
    expect(error.reason).toBe('NOT_IMPLEMENTED')
    expect(error.message).toContain('/test.Service/Nothing')
  })

  it('end at their deadline, and tell the handler', async () => {
    let arrived = 0
    let cancelled = 0
    server.unary = (_request, context) => {
      arrived++
      context.onCancel(() => cancelled++)
      return new Promise(() => {})
    }
    // One whose time was over on its way never had a handler to tell.
    for (let timeoutMs = 50; arrived === 0; timeoutMs *= 2) {
      const error = await failureOf(channel().unary(CALL, Buffer.alloc(1), { timeoutMs }))
      expect(error.reason).toBe('DEADLINE_EXCEEDED')
    }
    await until(() => cancelled === arrived, 'the handler hears of it')
  })

  it('run many at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => channel().unary(CALL, Buffer.from(String(i)))),
    )
    expect(answers.map(String)).toEqual(Array.from({ length: 300 }, (_, i) => String(i)))
  })
}

function streamTests(server: TestServer, channel: () => Channel): void {
  it('echo in order and end well on both sides', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const sent = Array.from({ length: 500 }, (_, i) => `message ${i}`)
    for (const text of sent) client.stream.write(Buffer.from(text))
    client.stream.end()
    const served = await arriving
    served.onMessage = message => served.stream.write(message)
    served.onEnd = () => served.stream.end()
    expect(await client.closed).toBeUndefined()
    expect(await served.closed).toBeUndefined()
    expect(client.texts()).toEqual(sent)
    expect(served.texts()).toEqual(sent)
    expect(client.events.slice(-2)).toEqual(['end', 'close'])
    expect(served.events.filter(event => event !== 'message')).toEqual(['end', 'close'])
  })

  it('half-close: the server goes on after the client has ended', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    client.stream.write(Buffer.from('only'))
    client.stream.end()
    const served = await arriving
    await until(() => served.events.includes('end'), 'the half-close arrives')
    for (let i = 0; i < 10; i++) served.stream.write(Buffer.from(`after ${i}`))
    served.stream.end()
    expect(await client.closed).toBeUndefined()
    expect(client.messages.length).toBe(10)
  })

  it('end when the server ends them, though the client has not', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    served.stream.write(Buffer.from('bye'))
    served.stream.end()
    expect(await client.closed).toBeUndefined()
    expect(client.texts()).toEqual(['bye'])
    client.stream.write(Buffer.from('too late'))
    expect(await served.closed).toBeUndefined()
  })

  it('carry metadata to the handler', async () => {
    let seen: Readonly<Record<string, string>> = {}
    server.stream = stream => {
      stream.setHandlers({ onMessage: () => {} })
      seen = stream.metadata
      stream.end()
    }
    await new Recorded(channel().stream(STREAM, { metadata: { 'naru-hop': '2' } })).closed
    expect(seen['naru-hop']).toBe('2')
  })

  it('deliver nothing to the server while paused, and all after', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    client.stream.write(Buffer.from('a'))
    const served = await arriving
    served.stream.pause()
    await channel().unary(CALL, Buffer.alloc(1))
    for (const text of ['b', 'c']) client.stream.write(Buffer.from(text))
    client.stream.end()
    await channel().unary(CALL, Buffer.alloc(1))
    await channel().unary(CALL, Buffer.alloc(1))
    expect(served.messages.length).toBeLessThanOrEqual(1)
    served.stream.resume()
    await until(() => served.events.includes('end'), 'all is delivered')
    expect(served.texts()).toEqual(['a', 'b', 'c'])
    served.stream.end()
    await client.closed
  })

  it('pause and resume within a delivery, message by message', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    for (let i = 0; i < 50; i++) client.stream.write(Buffer.from(`${i}`))
    client.stream.end()
    const served = await arriving
    served.onMessage = () => {
      served.stream.pause()
      setImmediate(() => served.stream.resume())
    }
    await until(() => served.events.includes('end'), 'all is delivered')
    expect(served.texts()).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`))
    served.stream.end()
    await client.closed
  })

  it('survive thousands of small messages behind a pause', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    served.stream.pause()
    for (let i = 0; i < 20_000; i++) client.stream.write(Buffer.alloc(0))
    client.stream.end()
    await channel().unary(CALL, Buffer.alloc(1))
    served.stream.resume()
    await until(() => served.events.includes('end'), 'all is delivered')
    expect(served.messages.length).toBe(20_000)
    served.stream.end()
    await client.closed
  })
}

function limitTests(
  server: TestServer,
  channel: () => Channel,
  connect: (options: ChannelOptions) => Channel,
): void {
  it('stop a client that writes to a server which does not read', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    served.stream.pause()
    const sent = await writeUntilFull(client, 200 * MIB)
    expect(sent).toBeLessThan(32 * MIB)
    served.stream.resume()
    await until(() => client.drains > 0, 'the writer may go on')
    client.stream.end()
    await until(() => served.events.includes('end'), 'all is delivered')
    expect(bytesOf(served)).toBe(sent)
    served.stream.end()
    await client.closed
  })

  it('stop a server that writes to a client which does not read', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    client.stream.pause()
    const served = await arriving
    const sent = await writeUntilFull(served, 200 * MIB)
    expect(sent).toBeLessThan(32 * MIB)
    client.stream.resume()
    await until(() => served.drains > 0, 'the writer may go on')
    served.stream.end()
    expect(await client.closed).toBeUndefined()
    expect(bytesOf(client)).toBe(sent)
  })

  it('carry large messages whole', async () => {
    const big = Buffer.alloc(RECEIVE_BYTES_MAX, 'naru')
    expect((await channel().unary(CALL, big)).equals(big)).toBe(true)
  })

  it('refuse a request that is too large, naming the limit', async () => {
    let calls = 0
    server.unary = async request => {
      calls++
      return request
    }
    const error = await failureOf(channel().unary(CALL, Buffer.alloc(RECEIVE_BYTES_MAX + 1)))
    expect(error.reason).toBe('REQUEST_TOO_LARGE')
    expect(error.message).toContain(String(RECEIVE_BYTES_MAX))
    expect(calls).toBe(0)
    expect((await channel().unary(CALL, Buffer.from('next'))).toString()).toBe('next')
  })

  it('refuse a stream message that is too large', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    client.stream.write(Buffer.alloc(RECEIVE_BYTES_MAX + 1))
    expect((await client.closed)?.reason).toBe('REQUEST_TOO_LARGE')
    expect((await served.closed)?.reason).toBe('REQUEST_TOO_LARGE')
    expect(served.messages).toEqual([])
  })

  it('refuse an answer that is larger than the client takes', async () => {
    const small = connect({ receiveMessageBytesMax: 1_000 })
    server.unary = async () => Buffer.alloc(1_001)
    const error = await failureOf(small.unary(CALL, Buffer.alloc(1)))
    expect(error.reason).toBe('RECORD_TOO_LARGE_FOR_CLIENT')
    small.close()
  })
}

function endTests(server: TestServer, channel: () => Channel): void {
  it('answer pings of a server while the stream is open', async () => {
    const arriving = new Promise<CallContext>(resolve => {
      server.stream = (stream, context) => {
        stream.setHandlers({ onMessage: () => {}, onEnd: () => stream.end() })
        resolve(context)
      }
    })
    const client = new Recorded(channel().stream(STREAM))
    client.stream.write(Buffer.from('x'))
    const context = await arriving
    let answers = 0
    for (let count = 1; count <= 30; count++) context.ping(() => answers++)
    await until(() => answers === 30, 'every one is answered')
    context.ping(() => answers++)
    await until(() => answers === 31, 'and one later')
    client.stream.end()
    expect(await client.closed).toBeUndefined()
    expect(answers).toBe(31)
  })

  it('tell the client why the server ended the stream', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    served.stream.fail(new NaruError('NODE_DRAINING', 'leaving', { details: { node: '1' } }))
    const error = await client.closed
    expect(error?.reason).toBe('NODE_DRAINING')
    expect(error?.details).toMatchObject({ node: '1' })
    expect((await served.closed)?.reason).toBe('NODE_DRAINING')
    expect(client.events).toEqual(['close'])
  })

  it('tell the server that the client cancelled', async () => {
    let cancelled = 0
    const arriving = new Promise<Recorded>(resolve => {
      server.stream = (stream, context) => {
        context.onCancel(() => cancelled++)
        resolve(new Recorded(stream))
      }
    })
    const client = new Recorded(channel().stream(STREAM))
    client.stream.write(Buffer.from('x'))
    const served = await arriving
    await until(() => served.messages.length === 1, 'the stream runs')
    client.stream.fail(new Error('enough'))
    expect((await client.closed)?.reason).toBe('CANCELLED')
    expect((await served.closed)?.reason).toBe('CANCELLED')
    expect(cancelled).toBe(1)
    expect(served.stream.write(Buffer.from('into the void'))).toBe(true)
  })

  it('do not call onCancel of a call that ended well', async () => {
    let cancelled = 0
    server.stream = (stream, context) => {
      context.onCancel(() => cancelled++)
      stream.setHandlers({ onMessage: () => {}, onEnd: () => stream.end() })
    }
    const client = new Recorded(channel().stream(STREAM))
    client.stream.end()
    expect(await client.closed).toBeUndefined()
    await channel().unary(CALL, Buffer.alloc(1))
    expect(cancelled).toBe(0)
  })

  it('end streams at their deadline on both sides', async () => {
    let served: Recorded | undefined
    void server.next().then(arrived => {
      served = arrived
    })
    // One whose time was over on its way never came to the other side.
    for (let timeoutMs = 200; served === undefined; timeoutMs *= 2) {
      const client = new Recorded(channel().stream(STREAM, { timeoutMs }))
      expect((await client.closed)?.reason).toBe('DEADLINE_EXCEEDED')
    }
    expect(['DEADLINE_EXCEEDED', 'CANCELLED']).toContain((await served.closed)?.reason)
  })

  it('turn an accident in a stream handler into INTERNAL for that stream only', async () => {
    server.stream = stream => {
      stream.setHandlers({
        onMessage: () => {
          throw new TypeError('secret detail')
        },
      })
    }
    const client = new Recorded(channel().stream(STREAM))
    client.stream.write(Buffer.from('x'))
    const error = await client.closed
    expect(error?.reason).toBe('INTERNAL')
    expect(error?.message).not.toContain('secret')
    expect((await channel().unary(CALL, Buffer.from('alive'))).toString()).toBe('alive')
  })

  it('turn an accident while a stream is opened into INTERNAL', async () => {
    server.stream = () => {
      throw new TypeError('secret detail')
    }
    expect((await new Recorded(channel().stream(STREAM)).closed)?.reason).toBe('INTERNAL')
  })

  it('fail open and later calls with CLOSED when the channel is closed', async () => {
    const arriving = server.next()
    const client = new Recorded(channel().stream(STREAM))
    const served = await arriving
    server.unary = () => new Promise(() => {})
    const pending = failureOf(channel().unary(CALL, Buffer.alloc(1)))
    channel().close()
    expect((await client.closed)?.reason).toBe('CLOSED')
    expect(await pending).toMatchObject({ reason: 'CLOSED', outcome: 'unknown' })
    expect((await served.closed)?.reason).toBe('CANCELLED')
    const late = await failureOf(channel().unary(CALL, Buffer.alloc(1)))
    expect(late).toMatchObject({ reason: 'CLOSED', outcome: 'none' })
    expect(late.outcome).toBe('none')
    expect((await new Recorded(channel().stream(STREAM)).closed)?.reason).toBe('CLOSED')
  })
}
