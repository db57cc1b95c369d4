import { assert } from '../../src/base/assert.ts'
import {
  type DirectoryEntry,
  type DirectoryFile,
  type Disk,
  DiskError,
  type DiskFile,
  type FileStat,
  type ReadDirectoryOptions,
} from '../../src/ports/disk.ts'
import type { DiskEffect, DiskOperationKind, SimDiskImage } from './sim-disk-image.ts'
import { directory, file, type SimDirectory, type SimFileNode, type SimNode } from './sim-disk-names.ts'
import type { SimIncarnation } from './sim-incarnation.ts'

type OpenMode = 'read' | 'write' | 'create' | 'createNew'

/** The Disk port of one incarnation, on the disk image of its machine. */
export class SimDisk implements Disk {
  readonly #image: SimDiskImage
  readonly #incarnation: SimIncarnation

  constructor(image: SimDiskImage, incarnation: SimIncarnation) {
    this.#image = image
    this.#incarnation = incarnation
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#run('open', path, () => {
      const node = this.#findOrCreate(path, mode)
      return new SimFile({ image: this.#image, incarnation: this.#incarnation, node, path, mode })
    })
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    let file: DiskFile
    try {
      file = await this.open(path, 'read')
    } catch (thrown) {
      if (thrown instanceof DiskError && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR'))
        return undefined
      throw thrown
    }
    try {
      return await file.read(0, file.sizeBytes)
    } finally {
      await file.close()
    }
  }

  list(path: string): Promise<DirectoryEntry[]> {
    return this.#run('list', path, () =>
      [...this.#directory(path, 'list').entries]
        .map(([name, node]) => ({ name, isDirectory: node.kind === 'directory' }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    )
  }

  /** Each file meets what a file may meet by itself, and costs what it costs. */
  async readDirectory(
    path: string,
    { choose, contentBytesMax }: ReadDirectoryOptions,
  ): Promise<DirectoryFile[]> {
    const names = (await this.list(path)).filter(entry => !entry.isDirectory).map(entry => entry.name)
    const chosen = new Set(choose(names))
    const files: DirectoryFile[] = []
    for (const name of names) {
      const known = chosen.has(name) ? await this.#readSmall(`${path}/${name}`, contentBytesMax) : UNKNOWN
      files.push({ name, ...known })
    }
    return files
  }

  async #readSmall(path: string, contentBytesMax: number): Promise<Omit<DirectoryFile, 'name'>> {
    let sizeBytes: number | undefined
    let content: Buffer | undefined
    try {
      const file = await this.open(path, 'read')
      sizeBytes = file.sizeBytes
      try {
        if (sizeBytes <= contentBytesMax) content = await file.read(0, sizeBytes)
      } finally {
        await file.close()
      }
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
    }
    return { sizeBytes, content }
  }

  makeDirectory(path: string): Promise<void> {
    return this.#run('makeDirectory', path, () => {
      let at = this.#image.names.root
      for (const name of path.split('/').filter(part => part !== '' && part !== '.')) {
        let next = at.entries.get(name)
        if (!next) {
          next = directory(this.#image.wallMs)
          this.#image.names.add(at, name, next)
        }
        if (next.kind !== 'directory') throw new DiskError('EEXIST', path, 'makeDirectory')
        at = next
      }
    })
  }

  stat(path: string): Promise<FileStat | undefined> {
    return this.#run('stat', path, () => {
      const node = this.#image.names.find(path)
      return (
        node && {
          sizeBytes: node.kind === 'file' ? node.content.sizeBytes : 0,
          modifiedWallMs: node.modifiedWallMs,
          isDirectory: node.kind === 'directory',
        }
      )
    })
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run('rename', from, () => {
      const { names } = this.#image
      const source = names.parent(from, 'rename')
      const moved = source.directory.entries.get(source.name)
      if (!moved) throw new DiskError('ENOENT', from, 'rename')
      const target = names.parent(to, 'rename')
      const replaced = target.directory.entries.get(target.name)
      if (replaced === moved) return
      if (replaced) checkReplaces(moved, replaced, to)
      names.rename(source, target)
    })
  }

  remove(path: string): Promise<void> {
    return this.#run('remove', path, () => {
      const parent = this.#image.names.parent(path, 'remove')
      const node = parent.directory.entries.get(parent.name)
      if (!node) throw new DiskError('ENOENT', path, 'remove')
      if (node.kind === 'directory') throw new DiskError('EISDIR', path, 'remove')
      this.#image.names.remove(parent.directory, parent.name)
    })
  }

  removeDirectory(path: string): Promise<void> {
    const { names } = this.#image
    const find = () => {
      const node = names.find(path)
      return node && { ...names.parent(path, 'removeDirectory'), node }
    }
    const effect = {
      apply: () => {
        const found = find()
        if (!found) return
        if (found.node.kind === 'directory') this.#empty(found.node)
        names.remove(found.directory, found.name)
      },
      // A recursive removal is many calls: killed midway it leaves some of the files.
      applyPart: () => {
        const found = find()
        if (found?.node.kind === 'directory') this.#empty(found.node, [...found.node.entries].length >> 1)
      },
    }
    return this.#image.run(this.#incarnation, { kind: 'removeDirectory', path }, effect)
  }

  async syncWithName(directory: string, name: string): Promise<void> {
    const file = await this.open(`${directory}/${name}`, 'write')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await this.syncDirectory(directory)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#run('syncDirectory', path, () => {
      this.#image.names.sync(this.#directory(path, 'syncDirectory'))
    })
  }

  space(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
    return this.#run('space', path, () => {
      const totalBytes = Math.min(this.#image.capacityBytes, Number.MAX_SAFE_INTEGER)
      return { freeBytes: Math.max(0, totalBytes - this.#image.usedBytes), totalBytes }
    })
  }

  #run<T>(kind: DiskOperationKind, path: string, apply: () => T): Promise<T> {
    return this.#image.run(this.#incarnation, { kind, path }, { apply })
  }

  #findOrCreate(path: string, mode: OpenMode): SimFileNode {
    const { names } = this.#image
    const existing = names.find(path)
    if (existing) {
      if (mode === 'createNew') throw new DiskError('EEXIST', path, 'open')
      if (existing.kind === 'directory') throw new DiskError('EISDIR', path, 'open')
      return existing
    }
    const parent = names.parent(path, 'open')
    if (mode === 'read' || mode === 'write') throw new DiskError('ENOENT', path, 'open')
    const created = file(this.#image.wallMs)
    names.add(parent.directory, parent.name, created)
    return created
  }

  #directory(path: string, operation: string): SimDirectory {
    const node = this.#image.names.find(path)
    if (!node) throw new DiskError('ENOENT', path, operation)
    if (node.kind !== 'directory') throw new DiskError('ENOTDIR', path, operation)
    return node
  }

  #empty(target: SimDirectory, count = Number.POSITIVE_INFINITY): void {
    let removed = 0
    for (const [name, node] of [...target.entries]) {
      if (removed++ >= count) return
      if (node.kind === 'directory') this.#empty(node)
      this.#image.names.remove(target, name)
    }
  }
}

const UNKNOWN = { sizeBytes: undefined, content: undefined }

function checkReplaces(moved: SimNode, replaced: SimNode, to: string): void {
  if (moved.kind === 'file' && replaced.kind === 'directory') throw new DiskError('EISDIR', to, 'rename')
  if (moved.kind === 'directory' && replaced.kind === 'file') throw new DiskError('ENOTDIR', to, 'rename')
  if (replaced.kind === 'directory' && replaced.entries.size > 0)
    throw new DiskError('OTHER', to, 'rename', new Error('the directory is not empty'))
}

interface SimFileOptions {
  readonly image: SimDiskImage
  readonly incarnation: SimIncarnation
  readonly node: SimFileNode
  readonly path: string
  readonly mode: OpenMode
}

/** An open file. It holds its owner to the port's rule: one of append, truncate and sync at a time. */
class SimFile implements DiskFile {
  readonly path: string
  readonly #image: SimDiskImage
  readonly #incarnation: SimIncarnation
  readonly #node: SimFileNode
  readonly #isWritable: boolean
  #sizeBytes: number
  #changing: DiskOperationKind | undefined
  #operations = 0
  #onIdle: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(options: SimFileOptions) {
    this.path = options.path
    this.#image = options.image
    this.#incarnation = options.incarnation
    this.#node = options.node
    this.#isWritable = options.mode !== 'read'
    this.#sizeBytes = options.node.content.sizeBytes
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  async append(buffers: readonly Uint8Array[]): Promise<void> {
    const start = this.#sizeBytes
    const write = (length: number) => {
      this.#node.modifiedWallMs = this.#image.wallMs
      // The bytes are taken when the write happens, not when it was asked for: a buffer that its owner reuses
      // too early shows up as corruption here, as it does on a machine.
      this.#node.content.write(start, Buffer.concat(buffers).subarray(0, length))
    }
    const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    await this.#change('append', {
      apply: () => {
        const { capacityBytes } = this.#image
        // To add up all files is not worth it where there is always room.
        const room =
          capacityBytes === Number.POSITIVE_INFINITY ? capacityBytes : capacityBytes - this.#image.usedBytes
        const grows = start + total - this.#node.content.sizeBytes
        if (grows > room) {
          write(Math.max(0, total - (grows - room)))
          throw new DiskError('ENOSPC', this.path, 'append')
        }
        write(total)
      },
      applyPart: prng => write(Math.floor(prng.fraction() * (total + 1))),
    })
    this.#sizeBytes = start + total
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    assert(!into || into.length >= length, `read of ${length} bytes into a buffer of ${into?.length}`)
    return this.#use('read', {
      apply: () => {
        const bytes = this.#node.content.read(position, length)
        if (!into) return bytes
        bytes.copy(into)
        return into.subarray(0, bytes.length)
      },
    })
  }

  async sync(): Promise<void> {
    await this.#change('sync', {
      apply: () => this.#node.content.sync(),
      applyFailed: prng => this.#node.content.failSync(prng),
    })
  }

  async rewrite(position: number, bytes: Uint8Array): Promise<void> {
    assert(position + bytes.length <= this.#sizeBytes, 'a rewrite stays within the file')
    await this.#change('rewrite', {
      apply: () => this.#node.content.write(position, Buffer.from(bytes)),
      applyPart: prng =>
        this.#node.content.write(
          position,
          Buffer.from(bytes.subarray(0, Math.floor(prng.fraction() * bytes.length))),
        ),
    })
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#change('truncate', {
      apply: () => {
        this.#node.modifiedWallMs = this.#image.wallMs
        this.#node.content.truncate(sizeBytes)
      },
    })
    this.#sizeBytes = sizeBytes
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#operations > 0)
      await new Promise<void>(resolve => {
        this.#onIdle = resolve
      })
    await this.#image.run(this.#incarnation, { kind: 'close', path: this.path }, { apply: () => {} })
  }

  async #change(kind: 'append' | 'rewrite' | 'sync' | 'truncate', effect: DiskEffect<void>): Promise<void> {
    assert(!this.#changing, `${kind} of ${this.path} while its ${this.#changing} is under way`)
    if (!this.#isWritable && kind !== 'sync')
      throw new DiskError('OTHER', this.path, kind, new Error('the file is open for reading only'))
    this.#changing = kind
    try {
      await this.#use(kind, effect)
    } finally {
      this.#changing = undefined
    }
  }

  async #use<T>(kind: DiskOperationKind, effect: DiskEffect<T>): Promise<T> {
    if (this.#closing) throw new DiskError('OTHER', this.path, kind, new Error('the file is closed'))
    this.#operations++
    try {
      return await this.#image.run(this.#incarnation, { kind, path: this.path }, effect)
    } finally {
      this.#operations--
      if (this.#operations === 0) this.#onIdle?.()
    }
  }
}
