import type { Http2Server, ServerHttp2Session, ServerHttp2Stream, ServerOptions } from 'node:http2'
import * as grpc from '@grpc/grpc-js'
import { assert, InvariantViolation } from '../base/assert.ts'

/**
 * The three places where @grpc/grpc-js has no option for what a broker needs: HTTP/2 settings (window sizes,
 * header limits), a look at each HTTP/2 stream beside its call, and which methods exist: every path reaches
 * the interceptor, as a stream of raw messages (on the wire all four kinds of calls are one), and unknown
 * ones are answered there. They are private there, so the version is pinned, the constructor checks that they are still what they
 * were, and tests check their effect (windows, header limits, the reason in UNIMPLEMENTED).
 */
export interface OpenGrpcServerOptions {
  readonly grpc: grpc.ServerOptions
  readonly http2: ServerOptions
  /** Receive window of a whole connection; the one of a stream is `http2.settings.initialWindowSize`. */
  readonly connectionWindowBytes: number
  onSession(session: ServerHttp2Session): void
  /** Called in the turn of the stream's arrival, just before its call is made. */
  onStream(stream: ServerHttp2Stream, headers: Record<string, unknown>): void
}

interface Internals {
  commonServerOptions: ServerOptions
  createHttp2Server(credentials: grpc.ServerCredentials): Http2Server
  _retrieveHandler(path: string): object | null
}

export class OpenGrpcServer extends grpc.Server {
  constructor(options: OpenGrpcServerOptions) {
    super(options.grpc)
    const internals = this as unknown as Internals
    assert(
      typeof internals.commonServerOptions === 'object' &&
        typeof internals.createHttp2Server === 'function' &&
        typeof internals._retrieveHandler === 'function',
      'this version of @grpc/grpc-js has other internals: adapt src/rpc/open-grpc-server.ts',
    )
    const { settings, ...rest } = options.http2
    Object.assign(internals.commonServerOptions, rest, {
      settings: { ...internals.commonServerOptions.settings, ...settings },
    })
    const createHttp2Server = internals.createHttp2Server.bind(this)
    internals.createHttp2Server = credentials => {
      const server = createHttp2Server(credentials)
      server.on('session', session => {
        session.setLocalWindowSize(options.connectionWindowBytes)
        options.onSession(session)
      })
      server.prependListener('stream', (stream, headers) => options.onStream(stream, headers))
      return server
    }
    internals._retrieveHandler = path => ({
      path,
      type: 'bidi',
      func: notCalled,
      serialize: asIs,
      deserialize: asIs,
    })
  }
}

function asIs(message: Buffer): Buffer {
  return message
}

function notCalled(): void {
  throw new InvariantViolation('calls are taken over by the interceptor')
}
