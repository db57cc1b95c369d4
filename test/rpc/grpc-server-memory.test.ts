import http2 from 'node:http2'
import { describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { until } from '../harness/recorded-stream.ts'
import {
  CALL,
  closeAfterEach,
  connect,
  framed,
  MIB,
  rawCall,
  rawSession,
  rssMib,
  STREAM,
  serve,
} from './grpc-server-harness.ts'

closeAfterEach()

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
