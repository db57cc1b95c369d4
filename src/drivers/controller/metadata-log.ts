import type { MetadataIndex } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'

/**
 * The replicated log of the metadata, as the controller's driver sees it. One entry holds the records of one
 * change: it is committed whole or not at all. Indexes are exclusive ends.
 */
export interface MetadataLog {
  /** Exclusive end of what is in the log, committed or not. */
  readonly endIndex: MetadataIndex
  /** Puts one entry at the end, not durable yet. Returns the new end. Throws a NaruError if it refuses. */
  append(records: readonly MetadataRecord[]): MetadataIndex
  /** Writes and syncs what is pending; no commits are reported afterwards. */
  close(): Promise<void>
}

/** What a metadata log tells its owner. */
export interface MetadataLogListener {
  /** Everything up to here is committed, now and for ever. Never goes back. */
  onCommitted(endIndex: MetadataIndex): void
  /** The log cannot go on (its disk failed, its bytes are damaged): neither can this node as a controller. */
  onFailed(error: NaruError): void
}

export interface MetadataEntry {
  readonly records: readonly MetadataRecord[]
  readonly endIndex: MetadataIndex
}
