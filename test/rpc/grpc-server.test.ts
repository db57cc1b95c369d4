import type http2 from 'node:http2'
import type net from 'node:net'
import { describe, expect, it } from 'vitest'
import { failureOf, until } from '../harness/recorded-stream.ts'
import {
  CALL,
  closeAfterEach,
  connect,
  framed,
  MIB,
  rawCall,
  rawSession,
  rawSocket,
  STREAM,
  serve,
  trailersOf,
} from './grpc-server-harness.ts'

closeAfterEach()

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

describe('a stream that its client leaves without a word', () => {
  type Ending = (parts: { session: http2.ClientHttp2Session; socket: net.Socket }) => void
  it.each<[string, Ending]>([
    ['whose process is killed', ({ socket }) => socket.destroy()],
    ['whose process is killed with something unread', ({ socket }) => socket.resetAndDestroy()],
    ['who closes the connection', ({ session }) => session.destroy()],
  ])('is not taken for half-closed: a client %s', async (_, end) => {
    const events: string[] = []
    const { port } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage: message => void stream.write(message),
            onEnd: () => events.push('end'),
            onClose: error => events.push(`close ${error?.reason}`),
          }),
      },
    )
    const socket = rawSocket(port)
    const session = rawSession(port, { createConnection: () => socket })
    const stream = rawCall(session, STREAM)
    stream.write(framed(Buffer.from('a')))
    await new Promise(resolve => stream.once('data', resolve))
    end({ session, socket })
    await until(() => events.some(event => event.startsWith('close')), 'the stream is over')
    expect(events).toEqual(['close CANCELLED'])
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
