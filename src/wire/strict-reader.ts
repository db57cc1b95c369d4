import protobuf from 'protobufjs/minimal.js'
import { InvariantViolation } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'

/** Wire types of protobuf that Naru's fields use. */
export const VARINT = 0
export const LENGTH = 2

/** Deeper than any message of Naru (4) and than a bad one may drive the stack. */
const NESTING_MAX = 16
/**
 * Sub-messages, list elements and map entries in one message. Empty ones cost 2 bytes to send and fifty times
 * that to hold: without a limit a 16 MiB message would take the node's memory and half a second of its loop. 10,000
 * records with 8 headers each are 90,000.
 */
const DECODED_PARTS_MAX = 250_000

/**
 * Reads protobuf that may be anything: protobufjs's Reader, with the checks that it leaves out (wire types, ends of
 * sub-messages, UTF-8, safe integers, how much there is). Every failure is INVALID_REQUEST and names the field.
 *
 *     const end = reader.enter('ProduceRequest.records')
 *     while (reader.hasMore(end)) { const tag = reader.tag(); ... }
 *     reader.leave()
 */
export class StrictReader {
  readonly #reader: protobuf.Reader
  readonly #bytes: Buffer
  #parts = 0
  #depth = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#reader = protobuf.Reader.create(bytes)
  }

  get length(): number {
    return this.#bytes.length
  }

  /** True while fields are left before `end`; a field that went past it is malformed. */
  hasMore(end: number): boolean {
    if (this.#reader.pos > end) throw malformed('a field is longer than the message that holds it')
    return this.#reader.pos < end
  }

  /** Field number << 3 | wire type. */
  tag(): number {
    const tag = this.#reader.uint32()
    if (tag < 8) throw malformed('field number 0')
    return tag
  }

  /** For a tag that is none of the expected ones: skips an unknown field, refuses a known one of another type. */
  skip(tag: number, message: string, fieldNumberMax: number): void {
    if (tag >>> 3 <= fieldNumberMax) throw malformed(`${message}: field ${tag >>> 3} has a wrong type`)
    this.skipUnknown(tag)
  }

  skipUnknown(tag: number): void {
    this.#reader.skipType(tag & 7)
  }

  /** Begins a sub-message (or a packed list); returns its end. */
  enter(path: string): number {
    if (++this.#depth > NESTING_MAX) throw malformed(`${path}: nested deeper than ${NESTING_MAX}`)
    this.countPart(path)
    const length = this.#reader.uint32()
    const end = this.#reader.pos + length
    if (end > this.#bytes.length) throw malformed(`${path}: cut off`)
    return end
  }

  leave(): void {
    this.#depth--
  }

  /** To be called for each element of a list. */
  countPart(path: string): void {
    if (++this.#parts > DECODED_PARTS_MAX)
      throw malformed(`${path}: more than ${DECODED_PARTS_MAX} parts in one message; split it`)
  }

  int32(): number {
    return this.#reader.int32()
  }

  bool(): boolean {
    return this.#reader.bool()
  }

  /** The name of an enum value. */
  enum<Name extends string>(path: string, names: ReadonlyMap<number, Name>): Name {
    const number = this.#reader.int32()
    const name = names.get(number)
    if (name === undefined) throw malformed(`${path}: ${number} is no value that this release knows`)
    return name
  }

  int64(path: string): number {
    const { low, high } = this.#reader.int64()
    // Rounded where it is not safe, to what is not safe either.
    const value = high * 2 ** 32 + (low >>> 0)
    if (!Number.isSafeInteger(value))
      throw malformed(`${path}: the number is outside -(2^53 - 1) ... 2^53 - 1`)
    return value
  }

  bytes(): Buffer {
    // The types say Uint8Array; over a Buffer it is one, and a view of it.
    return this.#reader.bytes() as Buffer
  }

  string(path: string): string {
    const length = this.#reader.uint32()
    const start = this.#reader.pos
    this.#reader.skip(length)
    const text = this.#bytes.toString('utf8', start, start + length)
    // Decoding puts U+FFFD in the place of what is not UTF-8; a real one survives the way back.
    if (text.includes('\ufffd') && !Buffer.from(text).equals(this.#bytes.subarray(start, start + length)))
      throw malformed(`${path}: not UTF-8`)
    return text
  }
}

/** Runs a decoder over untrusted bytes: whatever is wrong with them becomes INVALID_REQUEST. */
export function decodeStrictly<T>(
  name: string,
  bytes: Uint8Array,
  decode: (reader: StrictReader, end: number) => T,
): T {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    return decode(new StrictReader(buffer), buffer.length)
  } catch (error) {
    if (error instanceof NaruError || error instanceof InvariantViolation || error instanceof TypeError)
      throw error
    // RangeError (cut off) and Error (bad varint, bad wire type) of protobufjs.
    const cause = error instanceof Error ? error.message : String(error)
    throw new NaruError('INVALID_REQUEST', `malformed ${name}: ${cause}`, { cause: error })
  }
}

function malformed(what: string): NaruError {
  return new NaruError('INVALID_REQUEST', `malformed message: ${what}`)
}
