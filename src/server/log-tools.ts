import { NaruError } from '../base/errors.ts'
import { batchDefectAt, batchSizeAt } from '../log/batch-check.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseOffsetFileName,
  TIME_INDEX_SUFFIX,
} from '../log/log-file-names.ts'
import type { Disk, DiskFile } from '../ports/disk.ts'
import { NodeDisk } from '../ports/node-disk.ts'
import { BATCH_OVERHEAD, type BatchHeader, lastOffsetAt, readBatchHeader } from '../records/batch-header.ts'
import { initCompression } from '../records/compression.ts'
import { type ControlRecord, decodeControlRecord } from '../records/control-record.ts'
import { type DecodedRecord, decodeBatch } from '../records/decode-batch.ts'

/**
 * Reads segment files as they lie on the disk, without a node and without changing anything: what
 * `naru log dump` shows and `naru log verify` checks. A node may run on the same files meanwhile; then the
 * newest segment may end within a batch that is being written.
 */
const CHUNK_BYTES = 1024 * 1024

export interface FoundBatch {
  readonly position: number
  readonly header: BatchHeader
  readonly lastOffset: number
  /** Decoded on demand, for `naru log dump --records`. */
  records(): FoundRecord[]
}

export interface FoundRecord extends DecodedRecord {
  /** What a record of a control batch says; such batches stand in Kafka's segments. */
  readonly control?: ControlRecord
}

export interface SegmentDefect {
  readonly file: string
  readonly position: number
  readonly what: string
  /** The last segment ends within its last batch: a crash did that, and the next start cuts it. */
  readonly isTornTail: boolean
}

/** The tools on the disk of this machine. */
export class LogTools {
  readonly #disk = new NodeDisk()

  /** Ready to decompress as well. */
  static async open(): Promise<LogTools> {
    await initCompression()
    return new LogTools()
  }

  segmentFiles(path: string): Promise<string[]> {
    return segmentFiles(this.#disk, path)
  }

  verify(file: string, options: { isLast: boolean }): Promise<SegmentReport> {
    return verifySegment(this.#disk, file, options)
  }

  /** Calls back for each batch up to the first that is wrong, whose defect is returned, or until told to stop. */
  async eachBatch(
    file: string,
    onBatch: (batch: FoundBatch) => Promise<boolean>,
  ): Promise<SegmentDefect | undefined> {
    const batches = readBatches(this.#disk, file)
    for (;;) {
      const step = await batches.next()
      if (step.done) return step.value
      if (await onBatch(step.value)) continue
      await batches.return(undefined)
      return undefined
    }
  }
}

/** The segments at a path: one file, or all of a directory and those below it, in order. */
async function segmentFiles(disk: Disk, path: string): Promise<string[]> {
  const stat = await disk.stat(path)
  if (!stat) throw new NaruError('INVALID_REQUEST', `there is no file or directory ${path}`)
  if (!stat.isDirectory) return [path]
  const found: string[] = []
  for (const entry of await disk.list(path)) {
    const name = `${path.replace(/\/$/, '')}/${entry.name}`
    if (entry.isDirectory) found.push(...(await segmentFiles(disk, name)))
    else if (parseOffsetFileName(entry.name)?.suffix === LOG_SUFFIX) found.push(name)
  }
  return found
}

/** All batches up to the first that is wrong, whose defect is returned. */
async function* readBatches(
  disk: Disk,
  file: string,
): AsyncGenerator<FoundBatch, SegmentDefect | undefined, undefined> {
  const opened = await disk.open(file, 'read')
  try {
    return yield* batchesOf(opened, parseOffsetFileName(fileNameOf(file))?.offset ?? 0)
  } finally {
    await opened.close()
  }
}

async function* batchesOf(
  file: DiskFile,
  baseOffset: number,
): AsyncGenerator<FoundBatch, SegmentDefect | undefined, undefined> {
  let position = 0
  let nextOffset = baseOffset
  let epoch = -1
  let chunkBytes = CHUNK_BYTES
  while (position < file.sizeBytes) {
    const buffer = await file.read(position, Math.min(chunkBytes, file.sizeBytes - position))
    const start = position
    for (let at = 0; at < buffer.length; at = position - start) {
      const sizeBytes = batchSizeAt(buffer, at)
      if (typeof sizeBytes === 'string') return defect(file, position, sizeBytes)
      if (sizeBytes === undefined || at + sizeBytes > buffer.length) {
        chunkBytes = Math.max(CHUNK_BYTES, sizeBytes ?? BATCH_OVERHEAD)
        break
      }
      const what = batchDefectAt(buffer, at, sizeBytes, {
        nextOffset,
        // Compaction leaves gaps, and only the node knows whether this log was compacted.
        gapsAllowed: true,
        offsetLimit: Number.POSITIVE_INFINITY,
        agrees: next => next >= epoch,
      })
      if (what) return defect(file, position, what)
      const header = readBatchHeader(buffer, at)
      const batch = buffer.subarray(at, at + sizeBytes)
      const lastOffset = lastOffsetAt(buffer, at)
      yield { position, header, lastOffset, records: () => recordsOf(batch, header) }
      epoch = header.leaderEpoch
      nextOffset = lastOffset + 1
      position += sizeBytes
    }
    const isStuck = position === start && start + buffer.length >= file.sizeBytes
    if (isStuck) return defect(file, position, `the file ends ${buffer.length} bytes into a batch`, true)
  }
  return undefined
}

function recordsOf(batch: Buffer, { isControl }: BatchHeader): FoundRecord[] {
  const records = decodeBatch(batch)
  return isControl ? records.map(record => ({ ...record, control: decodeControlRecord(record) })) : records
}

export interface SegmentReport {
  readonly file: string
  readonly sizeBytes: number
  readonly batches: number
  readonly records: number
  readonly firstOffset: number | undefined
  readonly lastOffset: number | undefined
  readonly defects: readonly SegmentDefect[]
}

/** Checks every batch, and that each index entry leads to the batch that it names. */
async function verifySegment(disk: Disk, file: string, options: { isLast: boolean }): Promise<SegmentReport> {
  const spans: BatchSpan[] = []
  const iterator = readBatches(disk, file)
  let records = 0
  let step = await iterator.next()
  for (; !step.done; step = await iterator.next()) {
    const { position, header, lastOffset } = step.value
    records += header.recordCount
    spans.push({ position, first: header.baseOffset, last: lastOffset, maxTimestamp: header.maxTimestamp })
  }
  const defects: SegmentDefect[] = []
  if (step.value) defects.push({ ...step.value, isTornTail: step.value.isTornTail && options.isLast })
  // Behind a bad batch nothing is known, so nothing can be said of entries that lead there.
  else defects.push(...(await indexDefects(disk, file, spans)))
  const sizeBytes = (await disk.stat(file))?.sizeBytes ?? 0
  const firstOffset = spans[0]?.first
  return {
    file,
    sizeBytes,
    batches: spans.length,
    records,
    firstOffset,
    lastOffset: spans.at(-1)?.last,
    defects,
  }
}

interface BatchSpan {
  readonly position: number
  readonly first: number
  readonly last: number
  readonly maxTimestamp: number
}

async function indexDefects(disk: Disk, file: string, spans: readonly BatchSpan[]): Promise<SegmentDefect[]> {
  const defects: SegmentDefect[] = []
  const baseOffset = parseOffsetFileName(fileNameOf(file))?.offset ?? 0
  const byPosition = new Map(spans.map(span => [span.position, span]))
  const stem = file.slice(0, -LOG_SUFFIX.length)
  for await (const { at, bytes, path } of indexEntries(disk, stem + OFFSET_INDEX_SUFFIX, 8)) {
    const offset = baseOffset + bytes.readUInt32BE(0)
    const position = bytes.readUInt32BE(4)
    const span = byPosition.get(position)
    if (span && span.first <= offset && offset <= span.last) continue
    const what = `the entry for offset ${offset} leads to position ${position}, where it is not`
    defects.push({ file: path, position: at, what, isTornTail: false })
  }
  for await (const { at, bytes, path } of indexEntries(disk, stem + TIME_INDEX_SUFFIX, 12)) {
    const offset = baseOffset + bytes.readUInt32BE(8)
    const span = spanOf(spans, offset)
    if (span && span.maxTimestamp >= Number(bytes.readBigInt64BE(0))) continue
    const what = `the entry for offset ${offset} names a time that no record there has`
    defects.push({ file: path, position: at, what, isTornTail: false })
  }
  return defects
}

/** Entries of an index, without the zeros that Kafka leaves behind the last one of a segment in use. */
async function* indexEntries(disk: Disk, path: string, entryBytes: number) {
  const content = (await disk.readFile(path)) ?? Buffer.alloc(0)
  for (let at = 0; at + entryBytes <= content.length; at += entryBytes) {
    const bytes = content.subarray(at, at + entryBytes)
    if (bytes.every(byte => byte === 0)) return
    yield { at, bytes, path }
  }
}

function spanOf(spans: readonly BatchSpan[], offset: number): BatchSpan | undefined {
  let low = 0
  let high = spans.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((spans[middle]?.last ?? 0) < offset) low = middle + 1
    else high = middle
  }
  const span = spans[low]
  return span && span.first <= offset && offset <= span.last ? span : undefined
}

function defect(file: DiskFile, position: number, what: string, isTornTail = false): SegmentDefect {
  return { file: file.path, position, what, isTornTail }
}

function fileNameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
