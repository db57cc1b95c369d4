import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES, type ErrorReason, NaruError } from '../../src/base/errors.ts'
import { codecOf } from '../../src/wire/codecs.ts'
import { errorToStatus, STATUS_CODES, statusToError } from '../../src/wire/error-status.ts'
import { briefFailure, errorToFailure, failureToError } from '../../src/wire/failure.ts'
import { enumSchema } from '../../src/wire/schema.ts'

const REASONS = Object.keys(ERROR_CODES) as ErrorReason[]

describe('the table of errors', () => {
  const names = [...enumSchema('naru.v1.ErrorReason').byName.keys()]

  it('is the proto enum, both ways', () => {
    expect(names.filter(name => name !== 'UNSPECIFIED').sort()).toEqual([...REASONS].sort())
    expect(names[0]).toBe('UNSPECIFIED')
  })

  it('says in the proto what the table says', () => {
    const proto = readFileSync(new URL('../../proto/naru/v1/errors.proto', import.meta.url), 'utf8')
    for (const reason of REASONS)
      expect(proto).toContain(`  // ${ERROR_CODES[reason].action}\n  ERROR_REASON_${reason} = `)
  })
})

describe('an error as a status', () => {
  it.each(REASONS)('%s comes back whole', reason => {
    const sent = new NaruError(reason, 'topic "나루" is gone', {
      details: { topic: '나루', partition: '3' },
      retryAfterMs: 1250.5,
    })
    const status = errorToStatus(sent)
    expect(status.code).toBe(STATUS_CODES[ERROR_CODES[reason].status])
    expect(facts(statusToError(status))).toEqual(facts(sent))
  })

  it('keeps an outcome that is not the usual one', () => {
    const sent = new NaruError('DEADLINE_EXCEEDED', 'late', { outcome: 'none' })
    expect(statusToError(errorToStatus(sent)).outcome).toBe('none')
  })

  it('is what other languages expect in the trailer', () => {
    const { details } = errorToStatus(new NaruError('UNKNOWN_TOPIC', 'no', { details: { topic: 'a' } }))
    const status = codecOf<{ details: { typeUrl: string; value: Buffer }[] }>('google.rpc.Status').decode(
      details,
    )
    expect(status.details.map(detail => detail.typeUrl)).toEqual(['type.googleapis.com/google.rpc.ErrorInfo'])
    expect(codecOf('google.rpc.ErrorInfo').decode(status.details[0]?.value as Buffer)).toEqual({
      reason: 'UNKNOWN_TOPIC',
      domain: 'naru',
      metadata: { topic: 'a', outcome: 'none' },
    })
  })

  it('fits into the 8 KiB of trailers that gRPC stacks accept, whatever it quotes', () => {
    const long = '\ud83d\ude00'.repeat(5_000)
    const sent = new NaruError('INTERNAL', `${long}\ud800`, {
      details: { a: long, b: long, c: long, d: long, e: long, f: long, ['k'.repeat(9_000)]: 'x' },
    })
    const status = errorToStatus(sent)
    const trailerBytes = encodeURIComponent(status.message).length + (status.details.length * 4) / 3
    expect(trailerBytes).toBeLessThan(8_000)
    expect(statusToError(status).reason).toBe('INTERNAL')
  })
})

describe('the status of somebody else', () => {
  it.each([
    [14, 'CONNECTION_FAILED'],
    [4, 'DEADLINE_EXCEEDED'],
    [1, 'CANCELLED'],
    [8, 'OVERLOADED'],
    [12, 'NOT_IMPLEMENTED'],
    [16, 'UNAUTHENTICATED'],
    [7, 'PERMISSION_DENIED'],
    [2, 'INTERNAL'],
    [99, 'INTERNAL'],
  ])('%i is %s, its outcome unknown', (code, reason) => {
    const error = statusToError({ code, message: '' })
    expect(error.reason).toBe(reason)
    expect(error.outcome).toBe('unknown')
    expect(error.message).not.toBe('')
  })

  it('is not tried again for a message that will never fit', () => {
    const message = 'Received message larger than max (5000000 vs 4194304)'
    expect(statusToError({ code: 8, message }).reason).toBe('REQUEST_TOO_LARGE')
  })

  it('with unreadable details, a foreign domain or a newer reason is still an error', () => {
    const of = (reason: string, domain: string) => {
      const value = codecOf<object>('google.rpc.ErrorInfo').encode({
        reason,
        domain,
        metadata: { a: 'b' },
      } as object)
      const typeUrl = 'type.googleapis.com/google.rpc.ErrorInfo'
      return codecOf<object>('google.rpc.Status').encode({
        code: 14,
        details: [{ typeUrl, value }],
      } as object)
    }
    const read = (details: Buffer) => statusToError({ code: 14, message: 'm', details })
    expect(read(Buffer.from([0xff, 0xff])).reason).toBe('CONNECTION_FAILED')
    expect(read(of('UNKNOWN_TOPIC', 'example.com')).reason).toBe('CONNECTION_FAILED')
    expect(read(of('toString', 'naru')).reason).toBe('CONNECTION_FAILED')
    expect(read(of('FROM_THE_FUTURE', 'naru')).details).toEqual({ a: 'b', reason: 'FROM_THE_FUTURE' })
  })
})

describe('a failure inside an answer', () => {
  it.each(REASONS)('%s comes back whole', reason => {
    const sent = new NaruError(reason, 'no', { details: { topic: 'a' }, retryAfterMs: 100 })
    const codec = codecOf<ReturnType<typeof errorToFailure>>('naru.v1.Failure')
    expect(facts(failureToError(codec.decode(codec.encode(errorToFailure(sent)))))).toEqual(facts(sent))
  })

  it('says something even when it repeats', () => {
    const error = failureToError(briefFailure(errorToFailure(new NaruError('DISK_FULL', 'disk /d is full'))))
    expect(error.reason).toBe('DISK_FULL')
    expect(error.message).toBe(ERROR_CODES.DISK_FULL.action)
  })
})

function facts(error: NaruError) {
  const { reason, message, outcome, retriable, details, retryAfterMs } = error
  return { reason, message, outcome, retriable, details: { ...details }, retryAfterMs }
}
