import type { Codec } from './codec.ts'
import { codecOf } from './codecs.ts'

/** One method of a service: where it is called, and how its messages are written. */
export interface Method<Request, Response> {
  /** `/naru.v1.Producer/Produce` */
  readonly path: string
  /** Many requests (a client stream); otherwise exactly one. */
  readonly requestStream: boolean
  /** Many responses (a server stream); otherwise exactly one. */
  readonly responseStream: boolean
  readonly request: Codec<Request>
  readonly response: Codec<Response>
}

export function method<Request, Response>(options: {
  path: string
  request: string
  response: string
  requestStream?: boolean
  responseStream?: boolean
}): Method<Request, Response> {
  return {
    path: options.path,
    requestStream: options.requestStream ?? false,
    responseStream: options.responseStream ?? false,
    request: codecOf<Request>(options.request),
    response: codecOf<Response>(options.response),
  }
}
