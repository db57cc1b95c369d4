import { NaruError } from '../base/errors.ts'
import type { DecodedRecord } from './decode-batch.ts'

/**
 * The record of a control batch, as Kafka's transaction coordinator writes it at the end of a transaction.
 * Key: version (int16), type (int16; 0 abort, 1 commit). Value: version (int16), coordinator epoch (int32).
 * Naru writes none; `naru log dump` shows those of a Kafka data directory, consumers skip them.
 */
export interface ControlRecord {
  /** Other numbers are types of newer Kafkas (leader change, snapshot, voters): consumers skip those too. */
  readonly type: 'abort' | 'commit' | number
  /** Of the transaction coordinator; absent for other types. */
  readonly coordinatorEpoch: number | undefined
}

const TYPES = ['abort', 'commit'] as const

export function decodeControlRecord(record: Pick<DecodedRecord, 'key' | 'value' | 'offset'>): ControlRecord {
  const { key, value } = record
  if (key === null || key.length < 4 || key.readInt16BE(0) < 0)
    throw new NaruError(
      'INVALID_BATCH',
      `control record at offset ${record.offset}: its key is no control key`,
    )
  const code = key.readInt16BE(2)
  const type = TYPES[code]
  if (type === undefined) return { type: code, coordinatorEpoch: undefined }
  if (value === null || value.length < 6)
    throw new NaruError('INVALID_BATCH', `control record at offset ${record.offset}: its value is cut off`)
  return { type, coordinatorEpoch: value.readInt32BE(2) }
}
