/**
 * Files as a port. Paths are absolute or relative strings with `/`; nothing outside `src/ports` touches `node:fs`.
 *
 * Durability, as POSIX gives it and the simulated disk enforces it:
 * - bytes of `append` and the effect of `truncate` survive a power cut only after `sync` of that file returned;
 * - a created, renamed or removed name survives only after `syncDirectory` of its parent returned;
 * - `rename` replaces its target atomically (a reader sees the old or the new file, never a mixture).
 *
 * Any failure rejects with a `DiskError`. After a failed `append`, `sync` or `truncate` nothing may be assumed
 * of the file: a sync is never retried as if it could succeed (the page cache may have dropped the bytes), and a sync
 * that finds no room on the disk is an EIO like any other, never an ENOSPC that passes.
 */
export interface Disk {
  /** Opens an existing file, or with `create` makes it where there is none. `createNew` fails if it exists. */
  open(path: string, mode: 'read' | 'write' | 'create' | 'createNew'): Promise<DiskFile>
  /** The whole of a (small) file, or undefined where there is none. */
  readFile(path: string): Promise<Buffer | undefined>
  /** Names in a directory (not recursive), sorted; rejects with ENOENT if there is none. */
  list(directory: string): Promise<DirectoryEntry[]>
  /**
   * The files of a directory (no directories in it), sorted; of those that `choose` picks by their names also the size, and of
   * the small ones of these the content. Rejects with ENOENT if there is no such directory. For a start, which reads a few small
   * files in each of thousands of directories: a call for each of them costs more than what it reads.
   */
  readDirectory(directory: string, options: ReadDirectoryOptions): Promise<DirectoryFile[]>
  /** Makes the directory and its missing parents. */
  makeDirectory(directory: string): Promise<void>
  /** Size in bytes and time of last change, or undefined where there is no such name. */
  stat(path: string): Promise<FileStat | undefined>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Removes a directory with all that is in it; no error where there is none. */
  removeDirectory(directory: string): Promise<void>
  /** fsync of a directory: names created, renamed and removed in it before the call survive a power cut after it. */
  syncDirectory(directory: string): Promise<void>
  /**
   * fsync of an existing file and of its directory: what others have left of both in the page cache survives a power cut after it.
   * One call, for a start after a kill, which does it in thousands of directories.
   */
  syncWithName(directory: string, name: string): Promise<void>
  /** Space of the file system that holds `path`. */
  space(path: string): Promise<{ freeBytes: number; totalBytes: number }>
}

/**
 * One open file. Its owner never has two of append, rewrite, truncate and sync under way at once, except that a sync
 * may run while nothing else does; reads may run at any time. Positions are bytes from the start.
 */
export interface DiskFile {
  readonly path: string
  /** Length in bytes as of the open and the appends and truncates since that resolved. */
  readonly sizeBytes: number
  /** Writes all buffers one after the other at the end of the file; resolves when the page cache has them. */
  append(buffers: readonly Uint8Array[]): Promise<void>
  /**
   * Up to `length` bytes from `position`; fewer only where the file ends. With `into`, the bytes land at its
   * start and the result is a view of it.
   */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>
  /** Data and length reach the disk (fdatasync). */
  sync(): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  /**
   * Writes bytes that are there, as they are, once more. After a sync that failed in an earlier process the page cache
   * holds bytes that the disk may lack, and calls them clean: only written again do they reach it with the next sync.
   */
  rewrite(position: number, bytes: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface DirectoryEntry {
  readonly name: string
  readonly isDirectory: boolean
}

export interface ReadDirectoryOptions {
  readonly choose: (names: readonly string[]) => Iterable<string>
  readonly contentBytesMax: number
}

/** What is undefined is not known: the file was not chosen, is larger, or could not be read, which to read it by itself tells. */
export interface DirectoryFile {
  readonly name: string
  readonly sizeBytes: number | undefined
  readonly content: Buffer | undefined
}

export interface FileStat {
  readonly sizeBytes: number
  readonly modifiedWallMs: number
  readonly isDirectory: boolean
}

export type DiskErrorCode =
  | 'ENOENT'
  | 'EEXIST'
  | 'ENOSPC'
  | 'EIO'
  | 'EMFILE'
  | 'EACCES'
  | 'ENOTDIR'
  | 'EISDIR'
  | 'OTHER'

export class DiskError extends Error {
  override readonly name = 'DiskError'
  readonly code: DiskErrorCode
  readonly path: string

  constructor(code: DiskErrorCode, path: string, operation: string, cause?: unknown) {
    super(`${operation} ${path}: ${code}${cause instanceof Error ? ` (${cause.message})` : ''}`, { cause })
    this.code = code
    this.path = path
  }
}

/** Makes a directory and its missing parents so that a power cut does not take any of them. */
export async function makeDirectoryDurably(disk: Disk, directory: string): Promise<void> {
  const stat = await disk.stat(directory)
  if (!stat && parentOf(directory) !== directory) await makeDirectoryDurably(disk, parentOf(directory))
  await disk.makeDirectory(directory)
  // Also where it was there already: the process that made it may have died before its own sync.
  await disk.syncDirectory(parentOf(directory))
}

/**
 * Replaces a small file so that a crash at any point leaves the old or the new content, durably:
 * write `path.tmp`, fsync it, rename, fsync the directory.
 */
export async function writeFileAtomically(disk: Disk, path: string, content: Uint8Array): Promise<void> {
  await replaceFile(disk, path, content)
  await disk.syncDirectory(parentOf(path))
}

/** The same for several of one directory: each is the old or the new one after a crash, whatever the others are. */
export async function writeFilesAtomically(
  disk: Disk,
  directory: string,
  files: Iterable<{ readonly name: string; readonly content: Uint8Array }>,
): Promise<void> {
  for (const { name, content } of files) await replaceFile(disk, `${directory}/${name}`, content)
  await disk.syncDirectory(directory)
}

async function replaceFile(disk: Disk, path: string, content: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`
  const file = await disk.open(temporary, 'create')
  try {
    if (file.sizeBytes > 0) await file.truncate(0)
    await file.append([content])
    await file.sync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, path)
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash > 0 ? path.slice(0, slash) : slash === 0 ? '/' : '.'
}
