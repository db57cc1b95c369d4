import net from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { NaruError } from '../../src/base/errors.ts'
import { isRefused, type ServiceHandler } from '../../src/ports/transport.ts'
import { GrpcServer } from '../../src/rpc/grpc-server.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import { failureOf, until } from '../harness/recorded-stream.ts'

const CALL = '/test.Service/Call'
const closing: Array<() => void> = []

afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})

async function serve(handle: (request: Buffer) => Promise<Uint8Array>, port = 0) {
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const handlers = new Map<string, ServiceHandler>([[CALL, { kind: 'unary', handle }]])
  const server = new GrpcServer({ handlers, logger: silent })
  closing.push(() => server.close())
  return { server, port: await server.listen({ host: '127.0.0.1', port }) }
}

function connect(port: number) {
  const channel = new GrpcTransport().connect(`127.0.0.1:${port}`)
  closing.push(() => channel.close())
  return channel
}

async function unusedPort(): Promise<number> {
  const { server, port } = await serve(async request => request)
  server.close()
  return port
}

describe('what is known of a call that failed', () => {
  it('nothing happened if nobody listens, and the error names the address', async () => {
    const port = await unusedPort()
    const error = await failureOf(connect(port).unary(CALL, Buffer.alloc(1)))
    expect(error.reason).toBe('CONNECTION_FAILED')
    expect(error.outcome).toBe('none')
    expect(error.message).toMatch(
      new RegExp(`127.0.0.1:${port} failed: connect ECONNREFUSED 127.0.0.1:${port}$`),
    )
  })

  it('a stream that cannot connect fails in the same way', async () => {
    const stream = connect(await unusedPort()).stream(CALL)
    const error = await new Promise<NaruError | undefined>(resolve => {
      stream.setHandlers({ onMessage: () => {}, onClose: closed => resolve(closed as NaruError | undefined) })
    })
    expect(error?.reason).toBe('CONNECTION_FAILED')
    expect(error?.outcome).toBe('none')
    // The process at that address is gone, which no other failure proves.
    expect(isRefused(error)).toBe(true)
  })

  it('it is unknown if the connection dropped after the call was sent', async () => {
    let arrived = false
    const { server, port } = await serve(() => {
      arrived = true
      return new Promise(() => {})
    })
    const failed = failureOf(connect(port).unary(CALL, Buffer.alloc(1)))
    await until(() => arrived, 'the call runs')
    server.close()
    const error = await failed
    expect(error.reason).toBe('CONNECTION_FAILED')
    expect(error.outcome).toBe('unknown')
  })

  // The library takes two codes of broken connections for what they are; a socket that the system ends has others.
  it.each(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH'])(
    'it is unknown if the system ends the connection with %s',
    async code => {
      let arrived = false
      const { port } = await serve(() => {
        arrived = true
        return new Promise(() => {})
      })
      const sockets: net.Socket[] = []
      const { connect: connectSocket } = net
      const spy = vi.spyOn(net, 'connect').mockImplementation(((...args: Parameters<typeof net.connect>) => {
        const socket = connectSocket(...args)
        sockets.push(socket)
        return socket
      }) as typeof net.connect)
      closing.push(() => spy.mockRestore())
      const failure = failureOf(connect(port).unary(CALL, Buffer.alloc(1)))
      await until(() => arrived, 'the call')
      // Channels of other tests try to connect again meanwhile.
      const own = sockets.find(({ remotePort }) => remotePort === port)
      own?.destroy(Object.assign(new Error(`read ${code}`), { code, syscall: 'read' }))
      expect(own?.destroyed).toBe(true)
      const error = await failure
      expect(error).toMatchObject({ reason: 'CONNECTION_FAILED', outcome: 'unknown', retriable: true })
      expect(error.message).toContain(code)
    },
  )

  it('it is unknown at the deadline of a call that was sent, and none of one that never was', async () => {
    const { port } = await serve(request =>
      request.length === 0 ? Promise.resolve(request) : new Promise(() => {}),
    )
    const channel = connect(port)
    // Now there is a connection, however long that took.
    await channel.unary(CALL, Buffer.alloc(0))
    const sent = await failureOf(channel.unary(CALL, Buffer.alloc(1), { timeoutMs: 100 }))
    expect([sent.reason, sent.outcome]).toEqual(['DEADLINE_EXCEEDED', 'unknown'])
    // Accepts connections and never speaks: the handshake does not finish.
    const mute = net.createServer(() => {})
    await new Promise<void>(resolve => mute.listen(0, '127.0.0.1', resolve))
    closing.push(() => void mute.close())
    const { port: mutePort } = mute.address() as net.AddressInfo
    const unsent = await failureOf(connect(mutePort).unary(CALL, Buffer.alloc(1), { timeoutMs: 100 }))
    expect([unsent.reason, unsent.outcome]).toEqual(['DEADLINE_EXCEEDED', 'none'])
    const late = await failureOf(connect(port).unary(CALL, Buffer.alloc(1), { timeoutMs: 0 }))
    expect([late.reason, late.outcome]).toEqual(['DEADLINE_EXCEEDED', 'none'])
  })
})

describe('the connection of a channel', () => {
  it('tells when it comes up, goes, and cannot be dialled again', async () => {
    const { server, port } = await serve(async request => request)
    const channel = connect(port)
    const states: string[] = []
    channel.watchConnection(state => states.push(state))
    await channel.unary(CALL, Buffer.alloc(1))
    expect(states).toEqual(['connected'])
    server.close()
    await until(() => states.includes('disconnected'), 'the connection is gone')
    channel.dial()
    await until(() => states.includes('unreachable'), 'dialling fails')
    expect(states.slice(0, 3)).toEqual(['connected', 'disconnected', 'unreachable'])
  })

  it('comes back by itself when the node does', async () => {
    const { server, port } = await serve(async request => request)
    const channel = connect(port)
    await channel.unary(CALL, Buffer.alloc(1))
    server.close()
    await failureOf(channel.unary(CALL, Buffer.alloc(1)))
    await serve(async request => request, port)
    let answer: Buffer | undefined
    while (!answer) answer = await channel.unary(CALL, Buffer.from('back')).catch(() => undefined)
    expect(answer.toString()).toBe('back')
  })

  it('is not shared between channels, whatever their purpose', async () => {
    const { server, port } = await serve(async request => request)
    await connect(port).unary(CALL, Buffer.alloc(1))
    await connect(port).unary(CALL, Buffer.alloc(1))
    expect(server.usage.connections).toBe(2)
  })
})
