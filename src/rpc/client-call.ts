import * as grpc from '@grpc/grpc-js'
import { NaruError } from '../base/errors.ts'
import { type CallOptions, refusal } from '../ports/transport.ts'
import { errorOf, isFromNaru, type PartialStatusObject } from './grpc-status.ts'

/** A call of grpc-js below its Node streams: one message at a time each way, driven by callbacks. */
export type LibraryCall = ReturnType<grpc.Channel['createCall']>

export function metadataOf(options: CallOptions | undefined): grpc.Metadata {
  const metadata = new grpc.Metadata()
  for (const [name, value] of Object.entries(options?.metadata ?? {})) metadata.set(name, value)
  return metadata
}

/**
 * Cancels a call, twice: in the turn that made it, grpc-js would forget the cancellation and open the stream
 * all the same, for nobody, until the connection ends. A turn later there is a stream to cancel.
 */
export function cancel(call: LibraryCall, text: string): void {
  call.cancelWithStatus(grpc.status.CANCELLED, text)
  setImmediate(() => call.cancelWithStatus(grpc.status.CANCELLED, text))
}

/** What is known of a failed call beside its status. */
export interface CallFacts {
  readonly address: string
  readonly path: string
  readonly isStream: boolean
  /** No connection has been up at any time since the call was made. */
  readonly wasNeverConnected: boolean
}

/**
 * The error of a failed call. Its outcome is `none` only with proof that no handler ran (rule E2):
 *
 * - the answer names a reason of Naru's table, which knows;
 * - the channel had no connection at any time of the call (refused, unreachable, name not found);
 * - the connection that had taken the call gave it back unread (REFUSED_STREAM, also by a GOAWAY that does not
 *   cover it; the library tries such a call once more by itself), and there was no other connection.
 *
 * Everything else that breaks after the request may have left is `unknown`: a dropped connection, a deadline,
 * a proxy's own status. The texts below are the library's (its version is pinned, tests produce them).
 */
export function errorOfCall(status: PartialStatusObject, facts: CallFacts): NaruError {
  if (isFromNaru(status)) return errorOf(status)
  const { address, path } = facts
  const details = { address, method: path }
  switch (status.code) {
    case grpc.status.UNAVAILABLE: {
      const isProvenUnread =
        facts.wasNeverConnected ||
        status.details.startsWith(NOT_CONNECTED) ||
        status.details === REFUSED_BY_SERVER
      return new NaruError('CONNECTION_FAILED', `${path} at ${address} failed: ${plain(status.details)}`, {
        outcome: isProvenUnread ? 'none' : 'unknown',
        details,
        ...(REFUSED_BY_SYSTEM.test(status.details) && { cause: refusal(status.details) }),
      })
    }
    case grpc.status.DEADLINE_EXCEEDED:
      return new NaruError('DEADLINE_EXCEEDED', `${path} at ${address} got no answer before its deadline`, {
        outcome: facts.wasNeverConnected ? 'none' : 'unknown',
        details,
      })
    case grpc.status.RESOURCE_EXHAUSTED:
      return exhausted(status, facts)
    case grpc.status.INTERNAL:
      // The stream was cut by the other side, without a word, or the socket ended: a connection that breaks says no more.
      if (!status.details.startsWith(CUT_WITHOUT_STATUS) && !ENDED_BY_SYSTEM.test(status.details))
        return errorOf(named(status, facts))
      return new NaruError('CONNECTION_FAILED', `${path} at ${address} was cut: ${status.details}`, {
        outcome: 'unknown',
        details,
      })
    default:
      return errorOf(named(status, facts))
  }
}

function named(status: PartialStatusObject, { address, path }: CallFacts): PartialStatusObject {
  return { ...status, details: `${path} at ${address}: ${status.details}` }
}

function exhausted(status: PartialStatusObject, facts: CallFacts): NaruError {
  const { address, path } = facts
  const text = `${path} at ${address}: ${status.details}`
  const options = { outcome: 'unknown', details: { address, method: path } } as const
  if (status.details.startsWith(TOO_LARGE)) return new NaruError('RECORD_TOO_LARGE_FOR_CLIENT', text, options)
  if (status.details !== CUT_BY_SERVER) return new NaruError('OVERLOADED', text, options)
  return facts.isStream
    ? new NaruError(
        'READER_TOO_SLOW',
        `${path} at ${address} was cut: this client took too little for too long`,
        options,
      )
    : new NaruError('OVERLOADED', text, options)
}

const NOT_CONNECTED = 'No connection established'
const REFUSED_BY_SYSTEM = /^No connection established\. Last error: (?:Error: )?connect ECONNREFUSED\b/

/** The library wraps what the system said of the last attempt in words that help nobody. */
function plain(details: string): string {
  return (
    /^No connection established\. Last error: (?:Error: )?(.+?)\. Resolution note:/.exec(details)?.[1] ??
    details
  )
}
const REFUSED_BY_SERVER = 'Stream refused by server'
const TOO_LARGE = 'Received message larger than max'
const CUT_WITHOUT_STATUS = 'Received RST_STREAM with code 0'
/** Whatever the system says of a socket (`read EHOSTUNREACH`): the library knows two of its codes for broken connections. */
const ENDED_BY_SYSTEM = / triggered by internal client error: (?:\w+ )?E[A-Z]+\b/
const CUT_BY_SERVER = 'Bandwidth exhausted or memory limit exceeded'
