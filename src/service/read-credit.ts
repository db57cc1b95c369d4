import type { Credit } from '../wire/messages.ts'
import { invalidRequest } from './request-checks.ts'

/**
 * What a reader still wants. The first frame decides which of records and bytes are limited at all; later credit
 * adds to those. A frame may take more than is left, which the next credit pays for.
 */
export class ReadCredit {
  #records: number
  #bytes: number

  private constructor(records: number, bytes: number) {
    this.#records = records
    this.#bytes = bytes
  }

  static unlimited(): ReadCredit {
    return new ReadCredit(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
  }

  static of(credit: Credit): ReadCredit {
    checkCredit(credit)
    return new ReadCredit(
      credit.records ?? Number.POSITIVE_INFINITY,
      credit.bytes ?? Number.POSITIVE_INFINITY,
    )
  }

  get isLimited(): boolean {
    return Number.isFinite(this.#records) || Number.isFinite(this.#bytes)
  }

  get isUsedUp(): boolean {
    return this.#records <= 0 || this.#bytes <= 0
  }

  get records(): number {
    return this.#records
  }

  get bytes(): number {
    return this.#bytes
  }

  add(credit: Credit): void {
    checkCredit(credit)
    if (!this.isLimited)
      throw invalidRequest('credit: the first frame gave none, so this stream is not limited by credit')
    this.#records = Math.min(this.#records + (credit.records ?? 0), limitOf(this.#records))
    this.#bytes = Math.min(this.#bytes + (credit.bytes ?? 0), limitOf(this.#bytes))
  }

  use(part: { readonly recordCount: number; readonly sizeBytes: number }): void {
    this.#records -= part.recordCount
    this.#bytes -= part.sizeBytes
  }
}

function limitOf(left: number): number {
  return Number.isFinite(left) ? Number.MAX_SAFE_INTEGER : left
}

function checkCredit({ records, bytes }: Credit): void {
  for (const [name, value] of [
    ['records', records],
    ['bytes', bytes],
  ] as const)
    if (value !== undefined && value < 0)
      throw invalidRequest(`credit.${name} is ${value}, it must be 0 or more`)
}
