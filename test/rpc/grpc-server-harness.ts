import http2 from 'node:http2'
import net from 'node:net'
import { afterEach } from 'vitest'
import type { CallContext, MessageStream, ServiceHandler } from '../../src/ports/transport.ts'
import { GrpcServer } from '../../src/rpc/grpc-server.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import type { GrpcServerLimits } from '../../src/rpc/server-limits.ts'

/** A server with one unary and one stream call on a free port, and clients of it: well-behaved, and raw for those that are not. */

export const MIB = 1024 * 1024
export const CALL = '/test.Service/Call'
export const STREAM = '/test.Service/Stream'

const closing: Array<() => void | Promise<void>> = []

/** What a test started goes with it; call once at the top of a test file. */
export function closeAfterEach(): void {
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
}

interface Served {
  readonly server: GrpcServer
  readonly port: number
  readonly address: string
  readonly warnings: string[]
  readonly errors: object[]
}

export async function serve(
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

export function echo(stream: MessageStream): void {
  stream.setHandlers({ onMessage: message => void stream.write(message), onEnd: () => stream.end() })
}

export function connect(address: string) {
  const channel = new GrpcTransport().connect(address)
  closing.push(() => channel.close())
  return channel
}

export function rawSession(port: number, options: http2.ClientSessionOptions = {}): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`, options)
  session.on('error', () => {})
  closing.push(() => session.destroy())
  return session
}

export function rawCall(
  session: http2.ClientHttp2Session,
  path: string,
  headers: http2.OutgoingHttpHeaders = {},
) {
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

export function rawSocket(port: number): net.Socket {
  const socket = net.connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  closing.push(() => void socket.destroy())
  return socket
}

export function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

export async function trailersOf(stream: http2.ClientHttp2Stream): Promise<http2.IncomingHttpHeaders> {
  stream.resume()
  return new Promise(resolve => {
    stream.once('response', (headers, flags) => {
      if (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) resolve(headers)
    })
    stream.once('trailers', resolve)
  })
}

export function rssMib(): number {
  globalThis.gc?.()
  return process.memoryUsage().rss / MIB
}
