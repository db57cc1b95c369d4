import { constants } from 'node:http2'
import { describe, expect, it } from 'vitest'
import type { MessageStream } from '../../src/ports/transport.ts'
import {
  CALL,
  closeAfterEach,
  connect,
  framed,
  rawCall,
  rawSession,
  STREAM,
  serve,
  trailersOf,
} from './grpc-server-harness.ts'

closeAfterEach()

const REQUEST_TIMEOUT_MS = 300
const DEADLINE_EXCEEDED = '4'
const message = framed(Buffer.alloc(1000, 'x'))

describe('a request that trickles in', () => {
  for (const [what, path, bytes] of [
    ['a unary call without a message', CALL, 0],
    ['a part of a message', CALL, 500],
    ['a message without its end', CALL, message.length],
    ['a part of a message of a stream', STREAM, 500],
    ['a part of the second message of a stream', STREAM, message.length + 500],
  ] as const) {
    it(`is ended: ${what}`, async () => {
      const { port, server } = await serve({ requestTimeoutMs: REQUEST_TIMEOUT_MS })
      const call = rawCall(rawSession(port), path)
      call.write(Buffer.concat([message, message]).subarray(0, bytes))
      expect((await trailersOf(call))['grpc-status']).toBe(DEADLINE_EXCEEDED)
      call.close()
      await expect.poll(() => server.usage).toMatchObject({ calls: 0, requestBytes: 0 })
    })
  }

  it('gives its memory back also where the client goes on', async () => {
    const { port, server } = await serve({ requestTimeoutMs: REQUEST_TIMEOUT_MS })
    const call = rawCall(rawSession(port), CALL)
    const closed = new Promise(resolve => call.once('close', resolve))
    call.resume()
    const trickle = setInterval(() => call.writable && call.write(Buffer.alloc(1)), 20)
    await closed
    clearInterval(trickle)
    expect(call.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
    await expect.poll(() => server.usage).toMatchObject({ calls: 0, requestBytes: 0 })
  })
})

describe('the time for a request is not counted', () => {
  it('while a stream is quiet, or a handler does not ask for more', async () => {
    let paused: MessageStream | undefined
    const { address, port, server } = await serve(
      { requestTimeoutMs: REQUEST_TIMEOUT_MS },
      {
        stream: stream => {
          stream.setHandlers({ onMessage: one => void stream.write(one) })
          if (stream.metadata['pause'] === undefined) return
          paused = stream
          stream.pause()
        },
      },
    )
    const session = rawSession(port)
    const quiet = rawCall(session, STREAM)
    const waiting = rawCall(session, STREAM, { pause: '1' })
    for (const call of [quiet, waiting]) call.resume().write(message)
    await expect.poll(() => paused).toBeDefined()
    // Time passes for both, and for a call that is ended by it.
    const ended = await trailersOf(rawCall(session, CALL))
    expect(ended['grpc-status']).toBe(DEADLINE_EXCEEDED)
    expect(server.usage.calls).toBeGreaterThanOrEqual(2)
    const answered = new Promise(resolve => waiting.once('data', resolve))
    paused?.resume()
    await answered
    await connect(address).unary(CALL, Buffer.from('next'))
  })

  it('while a unary call is handled', async () => {
    const { address, port } = await serve(
      { requestTimeoutMs: REQUEST_TIMEOUT_MS },
      {
        unary: async request => {
          await trailersOf(rawCall(rawSession(port), CALL))
          return request
        },
      },
    )
    expect(String(await connect(address).unary(CALL, Buffer.from('slow')))).toBe('slow')
  })
})
