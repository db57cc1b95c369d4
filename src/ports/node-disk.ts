import * as fs from 'node:fs'
import { assert } from '../base/assert.ts'
import {
  type DirectoryEntry,
  type DirectoryFile,
  type Disk,
  DiskError,
  type DiskErrorCode,
  type DiskFile,
  type FileStat,
  type ReadDirectoryOptions,
} from './disk.ts'

/** The file system of the machine, through the callback API on descriptors (the cheapest one Node has). */
export class NodeDisk implements Disk {
  /** Of `readDirectory`: used for one file after the other, and longer than any of those that are read whole. */
  #space = Buffer.alloc(0)

  async open(path: string, mode: 'read' | 'write' | 'create' | 'createNew'): Promise<DiskFile> {
    const fd = await call<number>('open', path, done => fs.open(path, OPEN_FLAGS[mode], 0o644, done))
    try {
      const stat = await call<fs.Stats>('open', path, done => fs.fstat(fd, done))
      if (stat.isDirectory()) throw new DiskError('EISDIR', path, 'open')
      return new NodeFile(path, fd, stat.size)
    } catch (error) {
      await call<void>('close', path, done => fs.close(fd, done))
      throw error
    }
  }

  /** Without asking for its size first: of thousands of files at a start each call to the system counts. */
  async readFile(path: string): Promise<Buffer | undefined> {
    let fd: number
    try {
      fd = await call<number>('open', path, done => fs.open(path, O_RDONLY, done))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
    try {
      const parts: Buffer[] = []
      for (let position = 0, sizeBytes = SMALL_FILE_BYTES; ; sizeBytes *= 2) {
        const part = Buffer.allocUnsafe(sizeBytes)
        const count = await call<number>('read', path, done =>
          fs.read(fd, part, 0, sizeBytes, position, done),
        )
        parts.push(part.subarray(0, count))
        position += count
        if (count < sizeBytes) return parts.length === 1 ? parts[0] : Buffer.concat(parts)
      }
    } finally {
      await call<void>('close', path, done => fs.close(fd, done))
    }
  }

  async list(directory: string): Promise<DirectoryEntry[]> {
    const found = await call<fs.Dirent[]>('list', directory, done =>
      fs.readdir(directory, { withFileTypes: true }, done),
    )
    const entries: DirectoryEntry[] = []
    for (const entry of found) {
      // An operator may have moved a partition to another disk and left a link.
      const target = entry.isSymbolicLink() ? await this.stat(`${directory}/${entry.name}`) : undefined
      entries.push({ name: entry.name, isDirectory: target?.isDirectory ?? entry.isDirectory() })
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  /**
   * In this thread: all of it takes less than to hand one call to another thread and to hear of its end. The sockets
   * are read before the next one.
   */
  async readDirectory(directory: string, options: ReadDirectoryOptions): Promise<DirectoryFile[]> {
    // One byte more than is asked for: what leaves it free was read whole.
    const spaceBytes = options.contentBytesMax + 1
    if (this.#space.length < spaceBytes) this.#space = Buffer.alloc(spaceBytes)
    const files = readDirectoryNow(directory, options.choose, this.#space.subarray(0, spaceBytes))
    await new Promise<void>(resolve => setImmediate(resolve))
    return files
  }

  async makeDirectory(directory: string): Promise<void> {
    await call('makeDirectory', directory, done =>
      fs.mkdir(directory, { recursive: true }, error => done(error, undefined)),
    )
  }

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      const stat = await call<fs.Stats>('stat', path, done => fs.stat(path, done))
      return {
        sizeBytes: stat.size,
        modifiedWallMs: Math.floor(stat.mtimeMs),
        isDirectory: stat.isDirectory(),
      }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await call<void>('rename', from, done => fs.rename(from, to, done))
  }

  async remove(path: string): Promise<void> {
    await call<void>('remove', path, done => fs.unlink(path, done))
  }

  async removeDirectory(directory: string): Promise<void> {
    await call<void>('removeDirectory', directory, done =>
      fs.rm(directory, { recursive: true, force: true }, done),
    )
  }

  /** Only what may take long is another thread's: who calls this has just read the file, so the system finds it at once. */
  async syncWithName(directory: string, name: string): Promise<void> {
    await Promise.all([
      syncOpened(`${directory}/${name}`, O_RDWR, fs.fdatasync),
      syncOpened(directory, O_RDONLY | fs.constants.O_DIRECTORY, fs.fsync),
    ])
  }

  async syncDirectory(directory: string): Promise<void> {
    const fd = await call<number>('syncDirectory', directory, done =>
      fs.open(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, done),
    )
    try {
      await sync(directory, done => fs.fsync(fd, done))
    } finally {
      await call<void>('close', directory, done => fs.close(fd, done))
    }
  }

  async space(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
    const stat = await call<fs.StatsFs>('space', path, done => fs.statfs(path, done))
    // bavail, not bfree: blocks kept for root are not ours to use.
    return { freeBytes: stat.bavail * stat.bsize, totalBytes: stat.blocks * stat.bsize }
  }
}

/**
 * Writes go to explicit positions (pwritev), so a failed append never moves where the next one would land.
 * Invariant: the descriptor is used by no operation after `close` gave it back; the system hands the same
 * number to the next open, and a late read would return (a late write destroy) bytes of another file.
 */
class NodeFile implements DiskFile {
  readonly path: string
  readonly #fd: number
  #sizeBytes: number
  #operations = 0
  #closing: Promise<void> | undefined
  #onIdle: (() => void) | undefined

  constructor(path: string, fd: number, sizeBytes: number) {
    this.path = path
    this.#fd = fd
    this.#sizeBytes = sizeBytes
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  async append(buffers: readonly Uint8Array[]): Promise<void> {
    await this.#use('append', async () => {
      this.#sizeBytes = await this.#write(buffers, this.#sizeBytes)
    })
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    const target = into ?? Buffer.allocUnsafe(length)
    assert(target.length >= length, `read of ${length} bytes into a buffer of ${target.length}`)
    return this.#use('read', async () => {
      let filled = 0
      while (filled < length) {
        const count = await call<number>('read', this.path, done =>
          fs.read(this.#fd, target, filled, length - filled, position + filled, done),
        )
        if (count === 0) break
        filled += count
      }
      return target.subarray(0, filled)
    })
  }

  async sync(): Promise<void> {
    await this.#use('sync', () => sync(this.path, done => fs.fdatasync(this.#fd, done)))
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#use('truncate', async () => {
      await call<void>('truncate', this.path, done => fs.ftruncate(this.#fd, sizeBytes, done))
      this.#sizeBytes = sizeBytes
    })
  }

  async rewrite(position: number, bytes: Uint8Array): Promise<void> {
    assert(position + bytes.length <= this.#sizeBytes, 'a rewrite stays within the file')
    await this.#use('rewrite', () => this.#write([bytes], position))
  }

  /** Waits for the operations under way; those asked for later are refused. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#operations > 0)
      await new Promise<void>(resolve => {
        this.#onIdle = resolve
      })
    await call<void>('close', this.path, done => fs.close(this.#fd, done))
  }

  /** Returns where it ended. */
  async #write(buffers: readonly Uint8Array[], from: number): Promise<number> {
    let rest = buffers.filter(buffer => buffer.length > 0)
    let position = from
    while (rest.length > 0) {
      const written = await call<number>('write', this.path, done =>
        fs.writev(this.#fd, rest, position, done),
      )
      if (written === 0) throw new DiskError('EIO', this.path, 'write', new Error('nothing was written'))
      position += written
      rest = dropBytes(rest, written)
    }
    return position
  }

  async #use<T>(operation: string, run: () => Promise<T>): Promise<T> {
    if (this.#closing) throw new DiskError('OTHER', this.path, operation, new Error('the file is closed'))
    this.#operations++
    try {
      return await run()
    } finally {
      this.#operations--
      if (this.#operations === 0) this.#onIdle?.()
    }
  }
}

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants
const OPEN_FLAGS = {
  read: O_RDONLY,
  write: O_RDWR,
  create: O_RDWR | O_CREAT,
  createNew: O_RDWR | O_CREAT | O_EXCL,
} as const

/** Of the first read of a whole file: most are smaller. */
const SMALL_FILE_BYTES = 4096

function isMissing(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}

const CODES = new Map<string, DiskErrorCode>([
  ['ENOENT', 'ENOENT'],
  ['EEXIST', 'EEXIST'],
  ['ENOSPC', 'ENOSPC'],
  ['EDQUOT', 'ENOSPC'],
  ['EIO', 'EIO'],
  ['EMFILE', 'EMFILE'],
  ['ENFILE', 'EMFILE'],
  ['EACCES', 'EACCES'],
  ['EPERM', 'EACCES'],
  ['EROFS', 'EACCES'],
  ['ENOTDIR', 'ENOTDIR'],
  ['EISDIR', 'EISDIR'],
])

function call<T>(
  operation: string,
  path: string,
  start: (done: (error: NodeJS.ErrnoException | null, value: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (!error) resolve(value)
      else reject(diskError(error, path, operation))
    })
  })
}

function diskError(error: NodeJS.ErrnoException, path: string, operation: string): DiskError {
  return new DiskError(CODES.get(error.code ?? '') ?? 'OTHER', path, operation, error)
}

function readDirectoryNow(
  directory: string,
  choose: ReadDirectoryOptions['choose'],
  space: Buffer,
): DirectoryFile[] {
  let names: string[]
  try {
    const entries = fs.readdirSync(directory, { withFileTypes: true })
    names = entries.filter(entry => isFile(directory, entry)).map(entry => entry.name)
  } catch (thrown) {
    throw diskError(thrown as NodeJS.ErrnoException, directory, 'readDirectory')
  }
  names.sort()
  const chosen = new Set(choose(names))
  return names.map(name => ({
    name,
    ...(chosen.has(name) ? readFileNow(`${directory}/${name}`, space) : UNKNOWN),
  }))
}

function isFile(directory: string, entry: fs.Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isFile()
  return fs.statSync(`${directory}/${entry.name}`, { throwIfNoEntry: false })?.isFile() ?? false
}

function readFileNow(path: string, space: Buffer): Omit<DirectoryFile, 'name'> {
  let fd: number | undefined
  try {
    fd = fs.openSync(path, O_RDONLY)
    const count = fs.readSync(fd, space, 0, space.length, 0)
    if (count < space.length) return { sizeBytes: count, content: Buffer.from(space.subarray(0, count)) }
    return { sizeBytes: fs.fstatSync(fd).size, content: undefined }
  } catch {
    return UNKNOWN
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

const UNKNOWN = { sizeBytes: undefined, content: undefined }

/** Space is often allocated only at the sync: without any, bytes that were taken are lost, and no later sync has them. */
async function sync(
  path: string,
  start: (done: (error: NodeJS.ErrnoException | null) => void) => void,
): Promise<void> {
  try {
    await call<void>('sync', path, done => start(error => done(error, undefined)))
  } catch (error) {
    throw error instanceof DiskError && error.code === 'ENOSPC'
      ? new DiskError('EIO', path, 'sync', error.cause)
      : error
  }
}

async function syncOpened(path: string, flags: number, start: typeof fs.fsync): Promise<void> {
  let fd: number
  try {
    fd = fs.openSync(path, flags)
  } catch (thrown) {
    throw diskError(thrown as NodeJS.ErrnoException, path, 'syncWithName')
  }
  try {
    await sync(path, done => start(fd, done))
  } finally {
    fs.closeSync(fd)
  }
}

function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  let left = count
  let index = 0
  for (; index < buffers.length; index++) {
    const length = (buffers[index] as Uint8Array).length
    if (left < length) break
    left -= length
  }
  const rest = buffers.slice(index)
  if (left > 0) rest[0] = (rest[0] as Uint8Array).subarray(left)
  return rest
}
