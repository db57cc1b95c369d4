import http2 from 'node:http2'
import net from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { CallContext, MessageStream, ServiceHandler } from '../../src/ports/transport.ts'
import { GrpcServer } from '../../src/rpc/grpc-server.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import type { GrpcServerLimits } from '../../src/rpc/server-limits.ts'
import { failureOf, Recorded, until } from '../harness/recorded-stream.ts'

const MIB = 1024 * 1024
const CALL = '/test.Service/Call'
const STREAM = '/test.Service/Stream'

const closing: Array<() => void | Promise<void>> = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

interface Served {
  readonly server: GrpcServer
  readonly port: number
  readonly address: string
  readonly warnings: string[]
  readonly errors: object[]
}

async function serve(
  limits: Partial<GrpcServerLimits> = {},
  handlers: {
    unary?: (request: Buffer, context: CallContext) => Promise<Uint8Array>
    stream?: (stream: MessageStream) => void
    endsAtDrain?: boolean
  } = {},
): Promise<Served> {
  const warnings: string[] = []
  const errors: object[] = []
  const server = new GrpcServer({
    logger: {
      info: () => {},
      warn: (_facts, message) => warnings.push(message),
      error: facts => errors.push(facts),
    },
    limits,
    handlers: new Map<string, ServiceHandler>([
      [CALL, { kind: 'unary', handle: handlers.unary ?? (async request => request) }],
      [
        STREAM,
        { kind: 'stream', endsAtDrain: handlers.endsAtDrain === true, handle: handlers.stream ?? echo },
      ],
    ]),
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  closing.push(() => server.close())
  return { server, port, address: `127.0.0.1:${port}`, warnings, errors }
}

function echo(stream: MessageStream): void {
  stream.setHandlers({ onMessage: message => void stream.write(message), onEnd: () => stream.end() })
}

function connect(address: string) {
  const channel = new GrpcTransport().connect(address)
  closing.push(() => channel.close())
  return channel
}

function rawSession(port: number, options: http2.ClientSessionOptions = {}): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`, options)
  session.on('error', () => {})
  closing.push(() => session.destroy())
  return session
}

function rawCall(session: http2.ClientHttp2Session, path: string, headers: http2.OutgoingHttpHeaders = {}) {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  stream.on('error', () => {})
  return stream
}

function rawSocket(port: number): net.Socket {
  const socket = net.connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  closing.push(() => void socket.destroy())
  return socket
}

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

async function trailersOf(stream: http2.ClientHttp2Stream): Promise<http2.IncomingHttpHeaders> {
  stream.resume()
  return new Promise(resolve => {
    stream.once('response', (headers, flags) => {
      if (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) resolve(headers)
    })
    stream.once('trailers', resolve)
  })
}

function rssMib(): number {
  globalThis.gc?.()
  return process.memoryUsage().rss / MIB
}

describe('HTTP/2 settings', () => {
  it('give streams and connections the windows of the limits', async () => {
    const { port } = await serve({ streamWindowBytes: 2 * MIB, connectionWindowBytes: 6 * MIB })
    const session = rawSession(port)
    const settings = await new Promise<http2.Settings>(resolve => session.once('remoteSettings', resolve))
    expect(settings.initialWindowSize).toBe(2 * MIB)
    await until(() => session.state.remoteWindowSize === 6 * MIB, 'the window of the connection')
  })

  it('refuse more streams on a connection than the limit, before anything runs', async () => {
    const { port, server } = await serve({ streamsPerConnectionMax: 3 })
    const session = rawSession(port)
    const settings = await new Promise<http2.Settings>(resolve => session.once('remoteSettings', resolve))
    expect(settings.maxConcurrentStreams).toBe(3)
    for (let i = 0; i < 10; i++) rawCall(session, STREAM)
    await until(() => server.usage.calls === 3, 'three calls')
    await connect(`127.0.0.1:${port}`).unary(CALL, Buffer.alloc(1))
    expect(server.usage.calls).toBe(3)
  })

  it('refuse metadata beyond count and size', async () => {
    const { port, server } = await serve({ metadataEntriesMax: 20, metadataBytesMax: 4096 })
    const session = rawSession(port)
    await new Promise(resolve => session.once('remoteSettings', resolve))
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`x-${i}`, 'y']))
    const tooMany = rawCall(session, CALL, many)
    const tooLong = rawCall(session, CALL, { 'x-long': 'y'.repeat(8_000) })
    for (const stream of [tooMany, tooLong]) {
      stream.resume()
      await until(() => stream.closed, 'the stream is refused')
      expect(stream.rstCode).not.toBe(0)
    }
    expect(server.usage.calls).toBe(0)
    await connect(`127.0.0.1:${port}`).unary(CALL, Buffer.alloc(1))
  })
})

describe('refusals', () => {
  it('name what is wrong with compressed messages, and what would do', async () => {
    const { port } = await serve()
    const stream = rawCall(rawSession(port), CALL, { 'grpc-encoding': 'gzip' })
    const trailers = await trailersOf(stream)
    expect(trailers['grpc-status']).toBe('12')
    expect(trailers['grpc-accept-encoding']).toBe('identity')
  })

  it('answer a unary call without and with too many requests', async () => {
    const { port } = await serve()
    const session = rawSession(port)
    const none = rawCall(session, CALL)
    none.end()
    expect((await trailersOf(none))['grpc-status']).toBe('3')
    const two = rawCall(session, CALL)
    two.end(Buffer.concat([framed(Buffer.from('a')), framed(Buffer.from('b'))]))
    expect((await trailersOf(two))['grpc-status']).toBe('3')
  })

  it('log accidents whole', async () => {
    const { address, errors } = await serve({}, { unary: async () => Promise.reject(new TypeError('why')) })
    await failureOf(connect(address).unary(CALL, Buffer.alloc(1)))
    expect(errors).toMatchObject([{ path: CALL, err: { message: 'why' } }])
  })

  it('shed calls above the limit with a time to come back', async () => {
    const { address, server } = await serve({ callsMax: 2 }, { unary: () => new Promise(() => {}) })
    const channel = connect(address)
    for (let i = 0; i < 2; i++) channel.unary(CALL, Buffer.alloc(1)).catch(() => {})
    await until(() => server.usage.calls === 2, 'two calls run')
    const error = await failureOf(channel.unary(CALL, Buffer.alloc(1)))
    expect(error.reason).toBe('OVERLOADED')
    expect(error.outcome).toBe('none')
    expect(error.retryAfterMs).toBeGreaterThan(0)
  })
})

describe('connections', () => {
  it('beyond the limit of their address are refused; those within go on', async () => {
    const { port, address, server, warnings } = await serve({ connectionsPerAddressMax: 50 })
    const channel = connect(address)
    await channel.unary(CALL, Buffer.alloc(1))
    const sockets = Array.from({ length: 2_000 }, () => rawSocket(port))
    await until(() => sockets.filter(socket => socket.closed).length >= 1_951, 'the rest is refused')
    expect(server.usage.connections).toBe(50)
    expect(warnings.length).toBe(1_951)
    expect((await channel.unary(CALL, Buffer.from('still'))).toString()).toBe('still')
    for (const socket of sockets) socket.destroy()
    await until(() => server.usage.connections === 1, 'places are free again')
    await connect(address).unary(CALL, Buffer.alloc(1))
  })

  it('2,000 idle ones leave the others alone', async () => {
    const { port, address, server } = await serve({ connectionsPerAddressMax: 3_000 })
    const sockets = Array.from({ length: 2_000 }, () => rawSocket(port))
    await until(() => server.usage.connections === 2_000, 'all are open')
    expect((await connect(address).unary(CALL, Buffer.from('fine'))).toString()).toBe('fine')
    for (const socket of sockets) socket.destroy()
    await until(() => server.usage.connections === 1, 'all are gone')
  })

  it('that do not finish their handshake are closed', async () => {
    const { port, address } = await serve({ handshakeTimeoutMs: 100, readerStallTimeoutMs: 200 })
    const channel = connect(address)
    await channel.unary(CALL, Buffer.alloc(1))
    const mute = rawSocket(port).resume()
    await until(() => mute.closed, 'the mute one is closed')
    expect((await channel.unary(CALL, Buffer.from('still'))).toString()).toBe('still')
  })

  it('that send garbage are closed', async () => {
    const { port, address, server } = await serve({ keepaliveTimeMs: 200, keepaliveTimeoutMs: 200 })
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      Buffer.concat([preface, Buffer.alloc(100_000, 0xff)]),
    ]
    // After an error within the protocol, Node reads no more and does not see the connection close: the
    // unanswered PING of the keepalive ends it.
    const violations = [
      // SETTINGS, then CONTINUATION without HEADERS.
      Buffer.concat([
        preface,
        Buffer.from('000000040000000000', 'hex'),
        Buffer.from('000001090000000001aa', 'hex'),
      ]),
      // A DATA frame of a stream that was never opened.
      Buffer.concat([
        preface,
        Buffer.from('000000040000000000', 'hex'),
        Buffer.from('00000400000000000961626364', 'hex'),
      ]),
    ]
    const sockets = [...garbage, ...violations].map(bytes => {
      const socket = rawSocket(port)
      socket.resume()
      socket.write(bytes)
      return socket
    })
    await until(() => sockets.slice(0, garbage.length).every(socket => socket.closed), 'garbage is closed')
    for (const socket of sockets) socket.destroy()
    await until(() => server.usage.connections === 0, 'none is left')
    await connect(address).unary(CALL, Buffer.alloc(1))
  })

  it('that flood with CONTINUATION frames are closed', async () => {
    const { port, address } = await serve()
    const socket = rawSocket(port)
    socket.resume()
    socket.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))
    socket.write(Buffer.from('000000040000000000', 'hex'))
    // HEADERS of stream 1 without END_HEADERS, then CONTINUATION after CONTINUATION.
    socket.write(Buffer.from('000001010000000001' + '82', 'hex'))
    const frame = Buffer.concat([Buffer.from('004000090000000001', 'hex'), Buffer.alloc(0x4000, 0x82)])
    while (!socket.closed) {
      if (!socket.write(frame)) await new Promise(resolve => setImmediate(resolve))
    }
    await connect(address).unary(CALL, Buffer.alloc(1))
  })
})

describe('memory', () => {
  it('is flat after 5,000 opened and cancelled streams', async () => {
    const { address, server } = await serve()
    const channel = connect(address)
    const run = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const stream = channel.stream(STREAM)
        const closed = new Promise<void>(resolve => {
          stream.setHandlers({ onMessage: () => {}, onClose: () => resolve() })
        })
        stream.write(Buffer.alloc(1_000))
        if (i % 3 === 0) await new Promise(resolve => setImmediate(resolve))
        stream.fail(new NaruError('CANCELLED', 'not needed'))
        await closed
      }
    }
    await run(500)
    const beforeMib = rssMib()
    await run(5_000)
    await until(() => server.usage.calls === 0, 'no call is left')
    expect(server.usage).toMatchObject({ requestBytes: 0, sendBufferBytes: 0 })
    expect(rssMib() - beforeMib).toBeLessThan(100)
    await connect(address).unary(CALL, Buffer.alloc(1))
  }, 60_000)

  it('survives a flood of resets on one connection', async () => {
    const { port, address, server } = await serve()
    const session = rawSession(port)
    await new Promise(resolve => session.once('remoteSettings', resolve))
    for (let i = 0; i < 5_000 && !session.destroyed && !session.closed; i++) {
      rawCall(session, STREAM).close(http2.constants.NGHTTP2_CANCEL)
      if (i % 50 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await until(() => server.usage.calls === 0, 'no call is left')
    expect(server.usage.requestBytes).toBe(0)
    await connect(address).unary(CALL, Buffer.alloc(1))
  })

  it('is bounded for requests that are sent in part and never finished', async () => {
    const { port, address, server } = await serve({
      requestBytesPerConnectionMax: 4 * MIB,
      connectionWindowBytes: 64 * MIB,
    })
    const session = rawSession(port)
    await new Promise(resolve => session.once('remoteSettings', resolve))
    const half = framed(Buffer.alloc(2 * MIB)).subarray(0, MIB)
    const streams = Array.from({ length: 20 }, () => {
      const stream = rawCall(session, CALL)
      stream.resume()
      stream.write(half)
      return stream
    })
    await until(() => streams.filter(stream => stream.readableEnded).length >= 12, 'most are shed')
    await until(() => server.usage.requestBytes <= 5 * MIB, 'what is held is within the limit')
    expect((await connect(address).unary(CALL, Buffer.from('next'))).toString()).toBe('next')
    session.destroy()
    await until(() => server.usage.requestBytes === 0, 'all is given back')
  })

  it('is bounded for a handler that pauses, however many streams send', async () => {
    const { port, server } = await serve(
      { requestBytesPerConnectionMax: 4 * MIB, connectionWindowBytes: 64 * MIB },
      {
        stream: stream => {
          stream.setHandlers({ onMessage: () => {} })
          stream.pause()
        },
      },
    )
    const session = rawSession(port)
    await new Promise(resolve => session.once('remoteSettings', resolve))
    const streams = Array.from({ length: 20 }, () => {
      const stream = rawCall(session, STREAM)
      stream.resume()
      stream.write(framed(Buffer.alloc(MIB)))
      return stream
    })
    await until(() => streams.filter(stream => stream.readableEnded).length >= 12, 'most are shed')
    await until(() => server.usage.requestBytes <= 5 * MIB, 'what is held is within the limit')
  })

  it('is bounded for a reader that stalls, which is cut in the end', async () => {
    let closedWith: NaruError | undefined
    let written = 0
    const { port, address, server, warnings } = await serve(
      { readerStallTimeoutMs: 300 },
      {
        stream: stream => {
          const fill = () => {
            for (;;) {
              written += 64 * 1024
              if (!stream.write(Buffer.alloc(64 * 1024))) return
            }
          }
          stream.setHandlers({
            onMessage: fill,
            onDrain: fill,
            onClose: error => {
              closedWith = error
            },
          })
        },
      },
    )
    const stream = rawCall(rawSession(port), STREAM)
    stream.pause()
    stream.write(framed(Buffer.from('go')))
    await until(() => server.usage.sendBufferBytes >= MIB, 'the buffer is full')
    expect(server.usage.sendBufferBytes).toBeLessThan(2 * MIB)
    await until(() => closedWith !== undefined, 'the stream is cut')
    expect(closedWith?.reason).toBe('READER_TOO_SLOW')
    expect(written).toBeLessThan(8 * MIB)
    expect(warnings).toContain('cut a reader that stalled')
    expect(server.usage.sendBufferBytes).toBe(0)
    await until(() => stream.rstCode === http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 'the client hears of it')
    await connect(address).unary(CALL, Buffer.alloc(1))
  })

  it('gives every stream one message at a time when the whole server holds too much', async () => {
    const { port, server } = await serve(
      { sendBufferBytesMax: MIB, writeBufferBytesMax: MIB },
      {
        stream: stream => {
          const fill = () => {
            while (stream.write(Buffer.alloc(64 * 1024)));
          }
          stream.setHandlers({ onMessage: fill, onDrain: fill })
        },
      },
    )
    const session = rawSession(port)
    for (let i = 0; i < 40; i++) {
      const stream = rawCall(session, STREAM)
      stream.pause()
      stream.write(framed(Buffer.from('go')))
    }
    await until(() => server.usage.calls === 40 && server.usage.sendBufferBytes > MIB, 'all are full')
    expect(server.usage.sendBufferBytes).toBeLessThan(MIB + 40 * 64 * 1024 * 2)
  })
})

describe('answers that nobody takes', () => {
  it('are bounded for the whole server, and the calls of those who read go on', async () => {
    const { server, port, address, warnings } = await serve(
      { sendBufferBytesMax: MIB, sendBufferBytesHardMax: 4 * MIB, streamsPerConnectionMax: 100 },
      { unary: async request => Buffer.alloc(request.length * MIB) },
    )
    const session = rawSession(port, { settings: { initialWindowSize: 1024 } })
    for (let call = 0; call < 60; call++) {
      const stream = rawCall(session, CALL)
      stream.pause()
      stream.end(framed(Buffer.alloc(1)))
    }
    await until(() => warnings.length >= 50, 'most are cut')
    expect(server.usage.sendBufferBytes).toBeLessThanOrEqual(4 * MIB)
    expect(await connect(address).unary(CALL, Buffer.alloc(1))).toHaveLength(MIB)
  })
})

describe('draining', () => {
  it('waits for accepted calls, refuses new ones, and closes', async () => {
    let finish: (answer: Buffer) => void = () => {}
    const { server, address } = await serve(
      {},
      {
        unary: () =>
          new Promise(resolve => {
            finish = resolve
          }),
      },
    )
    const channel = connect(address)
    const accepted = channel.unary(CALL, Buffer.alloc(1))
    await until(() => server.usage.calls === 1, 'the call runs')
    const drained = server.drain({ timeoutMs: 20_000 })
    const refused = await failureOf(channel.unary(CALL, Buffer.alloc(1), { timeoutMs: 5_000 }))
    expect(['CONNECTION_FAILED', 'NODE_DRAINING']).toContain(refused.reason)
    expect(refused.outcome).toBe('none')
    finish(Buffer.from('answered'))
    expect((await accepted).toString()).toBe('answered')
    await drained
    expect(server.usage).toMatchObject({ calls: 0 })
  })

  it('lets a stream answer what it took, takes no more, and says NODE_DRAINING after the last answer', async () => {
    const taken: string[] = []
    let answer: () => void = () => {}
    const { server, address } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage: message => void taken.push(String(message)),
            onEnd: () => {
              answer = () => {
                for (const text of taken) stream.write(Buffer.from(text))
                stream.end()
              }
            },
          }),
      },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    client.stream.write(Buffer.from('a'))
    client.stream.write(Buffer.from('b'))
    await until(() => taken.length === 2, 'both are taken')
    const drained = server.drain({ timeoutMs: 20_000 })
    client.stream.write(Buffer.from('too late'))
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
    expect(client.closedWith).toBe('open')
    answer()
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
    expect(client.texts()).toEqual(['a', 'b'])
    await drained
  })

  it('ends well a stream that its client had half-closed before', async () => {
    let end: (() => void) | undefined
    const { server, address } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage() {},
            onEnd: () => {
              end = () => stream.end()
            },
          }),
      },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    client.stream.write(Buffer.from('a'))
    client.stream.end()
    await until(() => end !== undefined, 'the handler knows')
    const drained = server.drain({ timeoutMs: 20_000 })
    end?.()
    expect(await client.closed).toBeUndefined()
    await drained
  })

  it('ends streams that owe nothing at once, and hurries calls that wait', async () => {
    let ends = 0
    const { server, address } = await serve(
      {},
      {
        endsAtDrain: true,
        stream: stream => stream.setHandlers({ onMessage() {}, onEnd: () => void ends++ }),
        unary: (_request, context) =>
          new Promise(resolve => context.onCancel(() => resolve(Buffer.from('so far')))),
      },
    )
    const channel = connect(address)
    const client = new Recorded(channel.stream(STREAM))
    const waiting = channel.unary(CALL, Buffer.alloc(1))
    await until(() => server.usage.calls === 2, 'both run')
    const drained = server.drain({ timeoutMs: 20_000 })
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
    expect(String(await waiting)).toBe('so far')
    await drained
    expect(ends).toBe(0)
  })

  it('does not wait for requests that are not here yet', async () => {
    const { server, port } = await serve()
    const stream = rawCall(rawSession(port), CALL)
    stream.write(framed(Buffer.alloc(100)).subarray(0, 50))
    const trailers = trailersOf(stream)
    await until(() => server.usage.calls === 1, 'the call is open')
    await server.drain({ timeoutMs: 20_000 })
    expect((await trailers)['grpc-message']).toContain('stopping')
  })

  it('ends what is left at the limit with NODE_DRAINING', async () => {
    const { server, address } = await serve(
      {},
      { stream: stream => stream.setHandlers({ onMessage() {}, onEnd() {} }) },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    await until(() => server.usage.calls === 1, 'the stream is open')
    await server.drain({ timeoutMs: 50 })
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
  })
})
