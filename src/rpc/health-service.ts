import { NaruError } from '../base/errors.ts'
import type { MessageStream, ServiceHandler } from '../ports/transport.ts'
import { Health } from '../wire/methods.ts'

/**
 * Where the health of this node's services comes from. Names as in the protocol: the empty one is the node,
 * others are full service names (`naru.v1.Producer`).
 */
export interface HealthSource {
  /** Undefined: there is no such service. */
  isServing(service: string): boolean | undefined
  /** Calls back after any change; returns what stops it. */
  onChange(listener: () => void): () => void
}

/**
 * grpc.health.v1: `Check` asks once, `Watch` tells the current status and then each change of it. A watcher that
 * does not read gets the newest status when it reads again, not all those between.
 */
export function healthHandlers(source: HealthSource): Map<string, ServiceHandler> {
  return new Map<string, ServiceHandler>([
    [
      Health.check.path,
      {
        kind: 'unary',
        handle: async request => {
          const { service } = Health.check.request.decode(request)
          const isServing = source.isServing(service)
          if (isServing === undefined) {
            throw new NaruError('UNKNOWN_SERVICE', `this node has no service "${service}"`, {
              details: { service },
            })
          }
          return Health.check.response.encode({ status: isServing ? 'SERVING' : 'NOT_SERVING' })
        },
      },
    ],
    [Health.watch.path, { kind: 'stream', endsAtDrain: true, handle: stream => watch(stream, source) }],
  ])
}

function watch(stream: MessageStream, source: HealthSource): void {
  let service: string | undefined
  let told: string | undefined
  let isFull = false
  const tell = () => {
    if (service === undefined || isFull) return
    const isServing = source.isServing(service)
    const status = isServing === undefined ? 'SERVICE_UNKNOWN' : isServing ? 'SERVING' : 'NOT_SERVING'
    if (status === told) return
    told = status
    isFull = !stream.write(Health.watch.response.encode({ status }))
  }
  const stop = source.onChange(tell)
  stream.setHandlers({
    onMessage: message => {
      if (service !== undefined) {
        stream.fail(new NaruError('INVALID_REQUEST', 'Watch takes one request message, a second one came'))
        return
      }
      service = Health.watch.request.decode(message).service
      tell()
    },
    onDrain: () => {
      isFull = false
      tell()
    },
    onClose: stop,
  })
}
