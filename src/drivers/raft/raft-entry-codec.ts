/**
 * Raft entries as batches of the metadata log. Entry `i` is the one record of the batch at offset `i - 1`, the
 * batch's leader epoch is the entry's term, the record's key its kind and the record's value its data.
 *
 * One batch for each entry: a log is cut at whole batches, and where two leaders disagree may be any entry. Were
 * it inside of a batch, the entries before it would have to go and be written again, and a power cut between the
 * two would take what this member has acknowledged.
 */
import type { EntryKind, LogEntry } from '../../raft/messages.ts'
import { BatchBuilder } from '../../records/batch-builder.ts'
import { BATCH_BYTES_MAX, lastOffsetAt, leaderEpochAt } from '../../records/batch-header.ts'
import { decodeBatch } from '../../records/decode-batch.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'

/** The header of a batch, and at most this much of a record around its data. */
const BATCH_AND_RECORD_BYTES = 61 + 40

/** A change of metadata is one entry, also where a node is fenced that is in sync in all partitions of a cluster. */
export const ENTRY_BYTES_MAX = BATCH_BYTES_MAX - BATCH_AND_RECORD_BYTES

const KEYS: Readonly<Record<EntryKind, Buffer>> = {
  noop: Buffer.from('noop'),
  command: Buffer.from('command'),
  config: Buffer.from('config'),
}

export function encodeEntry(entry: LogEntry, wallMs: number): Buffer {
  // A config entry comes once in a while, a command may be one of thousands: no more memory than it takes.
  const builder = new BatchBuilder({ capacityBytes: BATCH_AND_RECORD_BYTES + entry.data.length })
  builder.append({ key: KEYS[entry.kind], value: entry.data, timestamp: wallMs })
  return builder.build()
}

/** The data are a view of `buffer`. Throws CorruptRaftData for a batch that `encodeEntry` does not make. */
export function decodeEntry(buffer: Buffer, at: number): LogEntry {
  const records = decodeBatch(buffer, at)
  const [record] = records
  const kind = record?.key?.toString('latin1')
  if (records.length !== 1 || !record?.value || !isKind(kind))
    throw new CorruptRaftData(`the batch at offset ${lastOffsetAt(buffer, at)} does not hold one raft entry`)
  return { index: record.offset + 1, term: leaderEpochAt(buffer, at), kind, data: record.value }
}

function isKind(name: string | undefined): name is EntryKind {
  return name === 'noop' || name === 'command' || name === 'config'
}
