/**
 * Zigzag varints as in Kafka's records (protobuf's sint32 and sint64): 7 bits a byte, low bits first.
 *
 * `varint` holds a signed 32-bit number in up to 5 bytes, `varlong` a safe integer in up to 8 of the 10 bytes that
 * the format allows. Nothing here uses BigInt: the zigzag of n is the pair (magnitude, sign bit), where the
 * magnitude is n or -n - 1, so that numbers beyond 2^31 go through plain double arithmetic without rounding.
 */

export function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag < 0x80) return 1
  if (zigzag < 0x4000) return 2
  if (zigzag < 0x200000) return 3
  return zigzag < 0x10000000 ? 4 : 5
}

export function varlongSize(value: number): number {
  if (value === value >> 0) return varintSize(value)
  let rest = Math.floor((value < 0 ? -value - 1 : value) / 64)
  let size = 1
  for (; rest > 0; size++) rest = Math.floor(rest / 128)
  return size
}

/** Returns the position behind the bytes written. The caller has made room. */
export function writeVarint(buffer: Uint8Array, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  let position = at
  while (zigzag > 0x7f) {
    buffer[position++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  buffer[position++] = zigzag
  return position
}

/** Returns the position behind the bytes written. The caller has made room; `value` is a safe integer. */
export function writeVarlong(buffer: Uint8Array, at: number, value: number): number {
  if (value === value >> 0) return writeVarint(buffer, at, value)
  const isNegative = value < 0
  const magnitude = isNegative ? -value - 1 : value
  let position = at
  let group = (magnitude % 64) * 2 + (isNegative ? 1 : 0)
  let rest = Math.floor(magnitude / 64)
  while (rest > 0) {
    buffer[position++] = group | 0x80
    group = rest % 128
    rest = Math.floor(rest / 128)
  }
  buffer[position++] = group
  return position
}

/**
 * Reads varints one after the other. It never throws and never reads past the buffer: a number that is too
 * long, too large or cut off makes `position` NaN, which no comparison with an end survives. So its user checks
 * once per record, not once per number.
 */
export class VarintReader {
  readonly buffer: Uint8Array
  position: number

  constructor(buffer: Uint8Array, position = 0) {
    this.buffer = buffer
    this.position = position
  }

  varint(): number {
    const buffer = this.buffer
    let position = this.position
    let byte = buffer[position++] as number
    if (byte < 0x80) {
      this.position = position
      return (byte >>> 1) ^ -(byte & 1)
    }
    let zigzag = byte & 0x7f
    for (let shift = 7; shift <= 28; shift += 7) {
      byte = buffer[position++] as number
      // Five groups hold 35 bits: the fifth may carry only the top four of 32.
      if (shift === 28 && byte > 0x0f) break
      zigzag |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.position = position
        return (zigzag >>> 1) ^ -(zigzag & 1)
      }
    }
    this.position = Number.NaN
    return 0
  }

  varlong(): number {
    const buffer = this.buffer
    let position = this.position
    let byte = buffer[position++] as number
    const sign = byte & 1
    let magnitude = (byte & 0x7f) >>> 1
    let scale = 64
    for (let count = 1; byte >= 0x80 && count < 10; count++) {
      byte = buffer[position++] as number
      magnitude += (byte & 0x7f) * scale
      scale *= 128
    }
    if (!(byte < 0x80) || magnitude > Number.MAX_SAFE_INTEGER) {
      this.position = Number.NaN
      return 0
    }
    this.position = position
    return sign === 0 ? magnitude : -magnitude - 1
  }
}
