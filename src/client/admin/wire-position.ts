import type { MessageInit, Position } from '../../wire/messages.ts'
import { shown } from '../option-check.ts'
import type { OffsetPosition } from './types.ts'

/** Throws a TypeError that names the call. */
export function wirePosition(call: string, position: OffsetPosition): MessageInit<Position> {
  if (position === 'earliest') return { at: 'EARLIEST' }
  if (position === 'latest') return { at: 'LATEST' }
  if (typeof position === 'object' && position !== null) {
    if ('timestampMs' in position) return { timestampMs: position.timestampMs }
    if ('lastN' in position) return { last: position.lastN }
  }
  throw new TypeError(
    `${call}: the position must be 'earliest', 'latest', { timestampMs } or { lastN }, not ${shown(position)}`,
  )
}
