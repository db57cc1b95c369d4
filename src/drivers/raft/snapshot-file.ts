/**
 * `raft/<offset>-<epoch>.snapshot`: the state after the entries below `offset`, the last of them of term `epoch`.
 *
 *     "NRSN" | version u32 = 1 | header size u32 | header (JSON: index, term, membership) | crc32c u32 of all before it
 *     chunks: size u32 > 0 | crc32c u32 of the body | body: records, each size u32 | bytes
 *     end:    0 u32 | number of chunks u32 | crc32c u32 of these 8 bytes
 *
 * Big endian. A record is never split between chunks; a cut file lacks its end. It travels between members as it is,
 * and is checked whole by who received it. Written as `.tmp`, synced, renamed, the directory synced: a name without
 * `.tmp` stands for a whole snapshot, and the log behind it may go.
 */
import { NaruError } from '../../base/errors.ts'
import { type Disk, DiskError, type DiskFile } from '../../ports/disk.ts'
import { decodeMembership, encodeMembership } from '../../raft/membership.ts'
import type { LogPosition, SnapshotMark } from '../../raft/messages.ts'
import { crc32c } from '../../records/crc32c.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'

const MAGIC = 'NRSN'
const VERSION = 1
/** Large enough that a sync is worth it, small enough to stay in the event loop's stride. */
const CHUNK_BYTES = 256 * 1024
const HEADER_BYTES_MAX = 1024 * 1024
/** A state is held in memory as a whole, and so is its snapshot while it is loaded. */
export const SNAPSHOT_BYTES_MAX = 1024 * 1024 * 1024

export interface Snapshot {
  readonly mark: SnapshotMark
  readonly records: readonly Buffer[]
}

export function snapshotFileName({ index, term }: LogPosition): string {
  return `${String(index).padStart(20, '0')}-${String(term).padStart(10, '0')}.snapshot`
}

export function parseSnapshotFileName(name: string): LogPosition | undefined {
  const match = /^(\d{20})-(\d{10,16})\.snapshot$/.exec(name)
  if (!match) return undefined
  return { index: Number(match[1]), term: Number(match[2]) }
}

/** Writes and syncs the file; its name is not durable yet. */
export async function writeSnapshotFile(disk: Disk, path: string, snapshot: Snapshot): Promise<void> {
  const file = await disk.open(path, 'create')
  try {
    await file.truncate(0)
    await file.append([encodeHeader(snapshot.mark)])
    let chunks = 0
    for (const body of chunked(snapshot.records)) {
      await file.append([sizeAndCrc(body.length, crc32c(body)), body])
      chunks++
    }
    await file.append([encodeEnd(chunks)])
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Reads and checks all of it. Throws CorruptRaftData for anything but a whole snapshot. */
export async function readSnapshotFile(disk: Disk, path: string): Promise<Snapshot> {
  const file = await disk.open(path, 'read')
  try {
    const reader = new FileReader(file)
    const mark = await readHeader(reader)
    const records: Buffer[] = []
    for (let chunks = 0; ; chunks++) {
      const start = await reader.take(8)
      const size = start.readUInt32BE(0)
      if (size === 0) {
        const isEnd =
          start.readUInt32BE(4) === chunks && (await reader.take(4)).readUInt32BE(0) === crc32c(start)
        if (!isEnd || !reader.isAtEnd) throw reader.damaged('its end is wrong')
        return { mark, records }
      }
      const body = await reader.take(size)
      if (crc32c(body) !== start.readUInt32BE(4)) throw reader.damaged('a checksum is wrong')
      splitRecords(body, records, reader)
    }
  } finally {
    await file.close()
  }
}

function encodeHeader({ index, term, membership }: SnapshotMark): Buffer {
  const header = Buffer.from(
    JSON.stringify({ index, term, membership: Buffer.from(encodeMembership(membership)).toString('utf8') }),
  )
  const start = Buffer.alloc(12)
  start.write(MAGIC, 'latin1')
  start.writeUInt32BE(VERSION, 4)
  start.writeUInt32BE(header.length, 8)
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(Buffer.concat([start, header])))
  return Buffer.concat([start, header, crc])
}

async function readHeader(reader: FileReader): Promise<SnapshotMark> {
  const start = await reader.take(12)
  if (start.toString('latin1', 0, 4) !== MAGIC) throw reader.damaged('it is not a snapshot')
  const version = start.readUInt32BE(4)
  if (start.readUInt32BE(8) > HEADER_BYTES_MAX) throw reader.damaged('its header is too large')
  const header = await reader.take(start.readUInt32BE(8))
  const crc = (await reader.take(4)).readUInt32BE(0)
  if (crc !== crc32c(Buffer.concat([start, header])))
    throw reader.damaged('the checksum of its header is wrong')
  if (version !== VERSION) {
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `${reader.path} has version ${version}; this release of Naru reads version ${VERSION}: use the newer one that wrote it`,
    )
  }
  const { index, term, membership } = parsedHeader(header)
  const decoded = decodeMembership(Buffer.from(String(membership)))
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(term) || !decoded)
    throw reader.damaged('its header makes no sense')
  return { index, term, membership: decoded }
}

/** Not a number for what is none: it may come from another member, and nobody has checked it before. */
function parsedHeader(bytes: Buffer): { index: number; term: number; membership: unknown } {
  try {
    return Object(JSON.parse(bytes.toString('utf8')))
  } catch {
    return { index: Number.NaN, term: Number.NaN, membership: '' }
  }
}

/** Records in their frames, gathered to chunks. */
function* chunked(records: Iterable<Uint8Array>): Generator<Buffer> {
  let parts: Uint8Array[] = []
  let bytes = 0
  for (const record of records) {
    const size = Buffer.alloc(4)
    size.writeUInt32BE(record.length)
    parts.push(size, record)
    bytes += 4 + record.length
    if (bytes < CHUNK_BYTES) continue
    yield Buffer.concat(parts)
    parts = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(parts)
}

function splitRecords(body: Buffer, into: Buffer[], reader: FileReader): void {
  for (let at = 0; at < body.length; ) {
    const end = at + 4 <= body.length ? at + 4 + body.readUInt32BE(at) : Number.POSITIVE_INFINITY
    if (end > body.length) throw reader.damaged('a record is cut off')
    into.push(body.subarray(at + 4, end))
    at = end
  }
}

function sizeAndCrc(size: number, crc: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeUInt32BE(size)
  buffer.writeUInt32BE(crc, 4)
  return buffer
}

function encodeEnd(chunks: number): Buffer {
  const start = sizeAndCrc(0, chunks)
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32c(start))
  return Buffer.concat([start, crc])
}

/** Reads a file from its start on; the file ending too early is damage. */
class FileReader {
  readonly #file: DiskFile
  #position = 0

  constructor(file: DiskFile) {
    this.#file = file
    if (file.sizeBytes > SNAPSHOT_BYTES_MAX)
      throw this.damaged(`it is larger than ${SNAPSHOT_BYTES_MAX} bytes`)
  }

  get path(): string {
    return this.#file.path
  }

  get isAtEnd(): boolean {
    return this.#position === this.#file.sizeBytes
  }

  async take(size: number): Promise<Buffer> {
    if (this.#position + size > this.#file.sizeBytes) throw this.damaged('it is cut off')
    const bytes = await this.#file.read(this.#position, size)
    if (bytes.length !== size) throw new DiskError('EIO', this.path, 'read')
    this.#position += size
    return bytes
  }

  damaged(what: string): CorruptRaftData {
    return new CorruptRaftData(`the snapshot ${this.path} is damaged: ${what}`)
  }
}
