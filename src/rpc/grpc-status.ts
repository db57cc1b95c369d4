import * as grpc from '@grpc/grpc-js'
import { NaruError } from '../base/errors.ts'
import { errorToStatus, statusToError } from '../wire/error-status.ts'

/** The part of a status that grpc-js takes and gives. */
export interface PartialStatusObject {
  code: grpc.status
  details: string
  metadata?: grpc.Metadata | null | undefined
}

export const OK = grpc.status.OK

const DETAILS_KEY = 'grpc-status-details-bin'

/** The status that ends a call: OK without an error. */
export function statusOf(error: NaruError | undefined): PartialStatusObject {
  const metadata = new grpc.Metadata()
  if (!error) return { code: grpc.status.OK, details: '', metadata }
  const { code, message, details } = errorToStatus(error)
  metadata.set(DETAILS_KEY, toBuffer(details))
  return { code, details: message, metadata }
}

/** The error that a status from the other side means, with its reason if it came from Naru. */
export function errorOf(status: PartialStatusObject): NaruError {
  const details = status.metadata?.get(DETAILS_KEY)[0]
  return statusToError({
    code: status.code,
    message: status.details,
    ...(Buffer.isBuffer(details) ? { details } : {}),
  })
}

export function isFromNaru(status: PartialStatusObject): boolean {
  return (status.metadata?.get(DETAILS_KEY).length ?? 0) > 0
}

/** What grpc-js refuses by itself on a server, before or instead of a handler. */
export function errorOfLibrary(status: PartialStatusObject, path: string): NaruError {
  switch (status.code) {
    case grpc.status.RESOURCE_EXHAUSTED:
      return new NaruError('REQUEST_TOO_LARGE', `${path}: ${status.details}`)
    case grpc.status.DEADLINE_EXCEEDED:
      return new NaruError('DEADLINE_EXCEEDED', `the deadline of the call ${path} has passed`)
    default:
      return new NaruError('INVALID_REQUEST', `${path}: ${status.details}`)
  }
}

/** As the gRPC specification asks: UNIMPLEMENTED, and which encodings would do. */
export function compressionRefused(path: string): PartialStatusObject {
  const status = statusOf(
    new NaruError('NOT_IMPLEMENTED', `${path} takes no compressed messages: compress record batches instead`),
  )
  status.metadata?.set('grpc-accept-encoding', 'identity')
  return status
}

/** The text metadata of a call: the first value of each name, binary ones (`-bin`) left out. */
export function plainMetadata(metadata: grpc.Metadata): Readonly<Record<string, string>> {
  const plain: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (typeof value === 'string') plain[name] = value
  }
  return plain
}

/** Milliseconds that are left until a deadline, or undefined if there is none. */
export function deadlineTimeoutMs(deadline: grpc.Deadline): number | undefined {
  const deadlineMs = typeof deadline === 'number' ? deadline : deadline.getTime()
  return deadlineMs === Number.POSITIVE_INFINITY ? undefined : deadlineMs - Date.now()
}

/** The same bytes as a Buffer, which is what grpc-js copies from. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
