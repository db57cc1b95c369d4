import { NaruError } from '../base/errors.ts'
import type { CallContext, MessageStream, MethodPath, ServiceHandler } from '../ports/transport.ts'
import type { MessageInit } from '../wire/codec.ts'
import type { Method } from '../wire/methods.ts'

/** One method and what serves it. */
export type HandlerEntry = readonly [MethodPath, ServiceHandler]

/** A call of one request and one answer, with its messages decoded and encoded. */
export function unary<Request, Response>(
  method: Method<Request, Response>,
  handle: (request: Request, context: CallContext) => MessageInit<Response> | Promise<MessageInit<Response>>,
): HandlerEntry {
  return unaryBytes(method, async (bytes, context) =>
    method.response.encode(await handle(method.request.decode(bytes), context)),
  )
}

/** The same for a handler that looks at the bytes before they are decoded. */
export function unaryBytes(
  method: { readonly path: MethodPath },
  handle: (bytes: Buffer, context: CallContext) => Promise<Uint8Array>,
): HandlerEntry {
  return [method.path, { kind: 'unary', handle }]
}

export function streaming(
  method: { readonly path: MethodPath },
  handle: (stream: MessageStream, context: CallContext) => void,
): HandlerEntry {
  return [method.path, { kind: 'stream', handle }]
}

/** A stream that tells of things and answers nothing: its client asks another node when this one stops. */
export function telling(
  method: { readonly path: MethodPath },
  handle: (stream: MessageStream, context: CallContext) => void,
): HandlerEntry {
  return [method.path, { kind: 'stream', endsAtDrain: true, handle }]
}

export function refuse(stream: MessageStream, error: NaruError): void {
  stream.setHandlers({ onMessage() {} })
  stream.fail(error)
}

/** Refuses the methods, saying what this release lacks. */
export function notImplemented(what: string, methods: readonly RefusedMethod[]): HandlerEntry[] {
  return methods.map(method => {
    const error = () =>
      new NaruError('NOT_IMPLEMENTED', `${method.path}: this release of Naru has no ${what}`, {
        details: { method: method.path },
      })
    if (!method.requestStream && !method.responseStream)
      return unaryBytes(method, () => Promise.reject(error()))
    return streaming(method, stream => refuse(stream, error()))
  })
}

interface RefusedMethod {
  readonly path: MethodPath
  readonly requestStream: boolean
  readonly responseStream: boolean
}
