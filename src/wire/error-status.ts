import { assert } from '../base/assert.ts'
import { ERROR_CODES, type ErrorReason, type GrpcStatusName, NaruError } from '../base/errors.ts'
import { codecOf } from './codecs.ts'
import { boundedDetails, boundedText } from './error-text.ts'
import type { Duration, ErrorInfo, RetryInfo, Status } from './generated/vendored.ts'

/**
 * NaruError <-> what a gRPC call ends with: canonical status, message, and the bytes of the
 * `grpc-status-details-bin` trailer (google.rpc.Status with ErrorInfo, and RetryInfo where known).
 * Both ways are total: any error has a status, and any status, also of a proxy or of a newer release, an error.
 */
export interface ErrorStatus {
  readonly code: number
  readonly message: string
  readonly details: Buffer
}

const ERROR_DOMAIN = 'naru'

/** The canonical codes of gRPC. */
export const STATUS_CODES: Readonly<Record<GrpcStatusName, number>> = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
}

export function errorToStatus(error: NaruError): ErrorStatus {
  const code = STATUS_CODES[ERROR_CODES[error.reason].status]
  const message = boundedText(error.message)
  const info = errorInfo.encode({
    reason: error.reason,
    domain: ERROR_DOMAIN,
    // Programs that know no table of reasons need the outcome too.
    metadata: { ...boundedDetails(error.details), [OUTCOME]: error.outcome },
  })
  const details = [{ typeUrl: ERROR_INFO_URL, value: info }]
  if (error.retryAfterMs !== undefined) {
    const retryDelay = durationOf(error.retryAfterMs)
    details.push({ typeUrl: RETRY_INFO_URL, value: retryInfo.encode({ retryDelay }) })
  }
  return { code, message, details: status.encode({ code, message, details }) }
}

export function statusToError(of: { code: number; message: string; details?: Uint8Array }): NaruError {
  assert(of.code !== 0, 'the status OK is no error')
  const { info, retryAfterMs } = readDetails(of.details)
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs }
  if (info?.domain !== ERROR_DOMAIN) return foreignError(of, retry)
  const { [OUTCOME]: outcome, ...details } = info.metadata
  // A reason of a newer release is known by its status at least.
  if (!Object.hasOwn(ERROR_CODES, info.reason))
    return foreignError(of, { ...retry, details: { ...details, reason: info.reason } })
  return new NaruError(info.reason as ErrorReason, of.message, {
    ...retry,
    details,
    outcome: outcome === 'none' ? 'none' : 'unknown',
  })
}

const status = codecOf<Status>('google.rpc.Status')
const errorInfo = codecOf<ErrorInfo>('google.rpc.ErrorInfo')
const retryInfo = codecOf<RetryInfo>('google.rpc.RetryInfo')

const ERROR_INFO_URL = 'type.googleapis.com/google.rpc.ErrorInfo'
const RETRY_INFO_URL = 'type.googleapis.com/google.rpc.RetryInfo'
const OUTCOME = 'outcome'

interface Details {
  info?: ErrorInfo
  retryAfterMs?: number
}

function readDetails(bytes: Uint8Array | undefined): Details {
  if (!bytes) return {}
  const found: Details = {}
  try {
    for (const { typeUrl, value } of status.decode(bytes).details) {
      if (typeUrl === ERROR_INFO_URL) found.info = errorInfo.decode(value)
      if (typeUrl === RETRY_INFO_URL) found.retryAfterMs = millisOf(retryInfo.decode(value).retryDelay)
    }
  } catch {
    // A trailer that cannot be read must not hide the error that it belongs to.
  }
  return found
}

/** What was not sent by Naru: a proxy, grpc-js itself, another server at this address. */
function foreignError(
  of: { code: number; message: string },
  options: { retryAfterMs?: number; details?: Readonly<Record<string, string>> },
): NaruError {
  const name = STATUS_NAMES.get(of.code) ?? 'UNKNOWN'
  const message = of.message === '' ? `the call ended with the status ${name}` : of.message
  // Nobody said that nothing happened: a connection that breaks after sending looks the same.
  return new NaruError(foreignReason(name, message), message, { ...options, outcome: 'unknown' })
}

function foreignReason(name: GrpcStatusName, message: string): ErrorReason {
  // gRPC libraries have one status for "too large" and "too many"; trying again helps only with the latter.
  if (name === 'RESOURCE_EXHAUSTED' && /larger than max/i.test(message)) return 'REQUEST_TOO_LARGE'
  return FOREIGN_REASONS[name]
}

const STATUS_NAMES = new Map(
  Object.entries(STATUS_CODES).map(([name, code]) => [code, name as GrpcStatusName]),
)

const FOREIGN_REASONS: Readonly<Record<GrpcStatusName, ErrorReason>> = {
  CANCELLED: 'CANCELLED',
  UNKNOWN: 'INTERNAL',
  INVALID_ARGUMENT: 'INVALID_REQUEST',
  DEADLINE_EXCEEDED: 'DEADLINE_EXCEEDED',
  NOT_FOUND: 'INVALID_REQUEST',
  ALREADY_EXISTS: 'INVALID_REQUEST',
  PERMISSION_DENIED: 'PERMISSION_DENIED',
  RESOURCE_EXHAUSTED: 'OVERLOADED',
  FAILED_PRECONDITION: 'INVALID_REQUEST',
  ABORTED: 'UNKNOWN_OUTCOME',
  OUT_OF_RANGE: 'INVALID_REQUEST',
  UNIMPLEMENTED: 'NOT_IMPLEMENTED',
  INTERNAL: 'INTERNAL',
  UNAVAILABLE: 'CONNECTION_FAILED',
  DATA_LOSS: 'CORRUPT_DATA',
  UNAUTHENTICATED: 'UNAUTHENTICATED',
}

function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1000)
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) }
}

function millisOf(duration: Duration | undefined): number {
  return duration ? Math.max(0, duration.seconds * 1000 + duration.nanos / 1e6) : 0
}
