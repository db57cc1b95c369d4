import { NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import { sizeInBytesAt } from '../../records/batch-header.ts'
import { stampLogAppendTime } from '../../records/stamp-batch.ts'
import { validateClientBatch } from '../../records/validate-batch.ts'
import type { PartitionSettings } from './partition-settings.ts'
import { requireKeys } from './required-keys.ts'

export interface ClientBatchOptions {
  readonly topic: string
  readonly settings: PartitionSettings
  readonly reserve: DiskReserve
  readonly wallMs: number
  /** The caller keeps the buffer, perhaps for another leader: it must pass these checks there as well. */
  readonly mayComeAgain: boolean
}

/**
 * What a leader checks before it believes a client's batch. Returns what is to be appended: the batch, with the append time
 * where the topic wants one. No client may give that type of timestamp, so what may come again is stamped in a copy.
 */
export function checkedBatch(batch: Buffer, options: ClientBatchOptions): Buffer {
  const { topic, settings, reserve, wallMs, mayComeAgain } = options
  const { maxMessageBytes, timestampAfterMaxMs, timestampType } = settings
  validateClientBatch(batch, 0, {
    maxMessageBytes,
    timestampMsMax: wallMs + timestampAfterMaxMs,
    walkRecords: true,
  })
  if (sizeInBytesAt(batch, 0) !== batch.length)
    throw new NaruError(
      'INVALID_BATCH',
      `${batch.length} bytes hold more than one batch of ${sizeInBytesAt(batch, 0)} bytes`,
    )
  if (settings.log.compacted) requireKeys(batch, topic)
  if (reserve.isLow) throw reserve.error()
  if (timestampType !== 'LogAppendTime') return batch
  const stamped = mayComeAgain ? Buffer.from(batch) : batch
  stampLogAppendTime(stamped, 0, wallMs)
  return stamped
}
