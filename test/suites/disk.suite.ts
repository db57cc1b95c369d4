import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Disk, DiskError, writeFileAtomically } from '../../src/ports/disk.ts'

export interface DiskUnderTest {
  readonly disk: Disk
  /** An empty directory on it. */
  readonly directory: string
  /** Gives the value of a promise, driving whatever has to happen before it settles. */
  finish<T>(promise: Promise<T>): Promise<T>
  dispose(): Promise<void>
}

/** What every form of the Disk port does, seen by one living process. */
export function diskSuite(name: string, make: () => Promise<DiskUnderTest>): void {
  describe(`disk: ${name}`, () => {
    let subject: DiskUnderTest
    const run = <T>(work: (disk: Disk, directory: string) => Promise<T>) =>
      subject.finish(work(subject.disk, subject.directory))

    beforeEach(async () => {
      subject = await make()
    })
    afterEach(() => subject.dispose())

    it('appends buffers one after the other and reads any part of them', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'createNew')
        await file.append([Buffer.from('one '), Buffer.alloc(0), Buffer.from('two ')])
        await file.append([Buffer.from('three')])
        await file.sync()
        expect(file.sizeBytes).toBe(13)
        expect((await file.read(0, 13)).toString()).toBe('one two three')
        expect((await file.read(4, 3)).toString()).toBe('two')
        await file.close()
      }))

    it('writes thousands of buffers in one append, whole and in order', () =>
      run(async (disk, directory) => {
        const pieces = Array.from({ length: 3000 }, (_, index) => Buffer.alloc(700, index % 251))
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append(pieces)
        expect(file.sizeBytes).toBe(3000 * 700)
        expect((await file.read(0, file.sizeBytes)).equals(Buffer.concat(pieces))).toBe(true)
        await file.close()
      }))

    it('reads fewer bytes only at the end of the file, and none beyond it', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append([Buffer.from('abcdef')])
        expect((await file.read(4, 100)).toString()).toBe('ef')
        expect(await file.read(6, 1)).toHaveLength(0)
        expect(await file.read(5000, 1)).toHaveLength(0)
        await file.close()
      }))

    it('reads into a given buffer and returns a view of its start', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append([Buffer.from('abcdef')])
        const into = Buffer.alloc(8, '.')
        const view = await file.read(2, 4, into)
        expect(view.toString()).toBe('cdef')
        expect(view.buffer).toBe(into.buffer)
        expect(into.toString()).toBe('cdef....')
        await file.close()
      }))

    it('cuts and goes on appending at the new end', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append([Buffer.from('abcdef')])
        await file.truncate(2)
        expect(file.sizeBytes).toBe(2)
        await file.append([Buffer.from('XY')])
        expect((await file.read(0, 10)).toString()).toBe('abXY')
        await file.close()
      }))

    it('writes bytes again in their place', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append([Buffer.from('abcdef')])
        await file.rewrite(2, Buffer.from('cd'))
        await file.append([Buffer.from('g')])
        expect((await file.read(0, 10)).toString()).toBe('abcdefg')
        await expect(file.rewrite(6, Buffer.from('gh'))).rejects.toThrow('stays within the file')
        await file.close()
      }))

    it('finds the bytes and the size again when a file is reopened', () =>
      run(async (disk, directory) => {
        const path = `${directory}/a.log`
        const first = await disk.open(path, 'create')
        await first.append([Buffer.from('abc')])
        await first.close()
        const second = await disk.open(path, 'write')
        expect(second.sizeBytes).toBe(3)
        await second.append([Buffer.from('def')])
        await second.close()
        const third = await disk.open(path, 'read')
        expect((await third.read(0, 6)).toString()).toBe('abcdef')
        await third.close()
      }))

    it('tells apart the four ways to open', () =>
      run(async (disk, directory) => {
        const path = `${directory}/a.log`
        await expectCode(disk.open(path, 'read'), 'ENOENT')
        await expectCode(disk.open(path, 'write'), 'ENOENT')
        await (await disk.open(path, 'create')).close()
        await (await disk.open(path, 'create')).close()
        await expectCode(disk.open(path, 'createNew'), 'EEXIST')
        await expectCode(disk.open(directory, 'read'), 'EISDIR')
        await expectCode(disk.open(`${directory}/none/a.log`, 'create'), 'ENOENT')
        await expectCode(disk.open(`${path}/b.log`, 'create'), 'ENOTDIR')
      }))

    it('refuses every use of a closed file, and closes twice without harm', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a.log`, 'create')
        await file.append([Buffer.from('abc')])
        const late = file.read(0, 3)
        const closed = file.close()
        expect((await late).toString(), 'a read under way still ends').toBe('abc')
        await closed
        await file.close()
        await expectCode(file.read(0, 1), 'OTHER')
        await expectCode(file.append([Buffer.from('x')]), 'OTHER')
        await expectCode(file.sync(), 'OTHER')
      }))

    it('does not write through a file that is open for reading', () =>
      run(async (disk, directory) => {
        await writeFileAtomically(disk, `${directory}/a`, Buffer.from('abc'))
        const file = await disk.open(`${directory}/a`, 'read')
        await expect(file.append([Buffer.from('x')])).rejects.toBeInstanceOf(DiskError)
        await file.close()
      }))

    it('lists names sorted, with what is a directory', () =>
      run(async (disk, directory) => {
        await disk.makeDirectory(`${directory}/b/c`)
        await (await disk.open(`${directory}/a`, 'create')).close()
        await (await disk.open(`${directory}/Z`, 'create')).close()
        expect(await disk.list(directory)).toEqual([
          { name: 'Z', isDirectory: false },
          { name: 'a', isDirectory: false },
          { name: 'b', isDirectory: true },
        ])
        await expectCode(disk.list(`${directory}/none`), 'ENOENT')
        await expectCode(disk.list(`${directory}/a`), 'ENOTDIR')
        await disk.makeDirectory(`${directory}/b/c`)
      }))

    it('stats files and directories, and undefined where there is nothing', () =>
      run(async (disk, directory) => {
        await writeFileAtomically(disk, `${directory}/a`, Buffer.from('abc'))
        const stat = await disk.stat(`${directory}/a`)
        expect(stat).toMatchObject({ sizeBytes: 3, isDirectory: false })
        expect(Number.isInteger(stat?.modifiedWallMs)).toBe(true)
        expect(await disk.stat(directory)).toMatchObject({ isDirectory: true })
        expect(await disk.stat(`${directory}/none`)).toBeUndefined()
        expect(await disk.stat(`${directory}/a/none`)).toBeUndefined()
      }))

    it('renames over an existing file, and directories with what is in them', () =>
      run(async (disk, directory) => {
        await writeFileAtomically(disk, `${directory}/new`, Buffer.from('new'))
        await writeFileAtomically(disk, `${directory}/old`, Buffer.from('old'))
        await disk.rename(`${directory}/new`, `${directory}/old`)
        expect(await disk.readFile(`${directory}/old`)).toEqual(Buffer.from('new'))
        expect(await disk.stat(`${directory}/new`)).toBeUndefined()
        await disk.makeDirectory(`${directory}/from`)
        await disk.rename(`${directory}/old`, `${directory}/from/old`)
        await disk.rename(`${directory}/from`, `${directory}/to`)
        expect(await disk.readFile(`${directory}/to/old`)).toEqual(Buffer.from('new'))
        await expectCode(disk.rename(`${directory}/none`, `${directory}/x`), 'ENOENT')
        await expect(disk.rename(`${directory}/to`, `${directory}/to2/x`)).rejects.toBeInstanceOf(DiskError)
      }))

    it('removes files, and directories with all in them', () =>
      run(async (disk, directory) => {
        await disk.makeDirectory(`${directory}/d/e`)
        await writeFileAtomically(disk, `${directory}/d/e/a`, Buffer.from('a'))
        await disk.remove(`${directory}/d/e/a`)
        await expectCode(disk.remove(`${directory}/d/e/a`), 'ENOENT')
        await writeFileAtomically(disk, `${directory}/d/e/a`, Buffer.from('a'))
        await expect(disk.remove(`${directory}/d`)).rejects.toBeInstanceOf(DiskError)
        await disk.removeDirectory(`${directory}/d`)
        expect(await disk.list(directory)).toEqual([])
        await disk.removeDirectory(`${directory}/d`)
      }))

    it('keeps serving an open file after its name is gone', () =>
      run(async (disk, directory) => {
        const file = await disk.open(`${directory}/a`, 'create')
        await file.append([Buffer.from('abc')])
        await disk.remove(`${directory}/a`)
        expect((await file.read(0, 3)).toString()).toBe('abc')
        await file.close()
      }))

    it('replaces a file atomically and leaves no temporary one', () =>
      run(async (disk, directory) => {
        const path = `${directory}/state.json`
        await writeFileAtomically(disk, path, Buffer.from('a longer first content'))
        await writeFileAtomically(disk, path, Buffer.from('second'))
        expect((await disk.readFile(path))?.toString()).toBe('second')
        expect(await disk.list(directory)).toEqual([{ name: 'state.json', isDirectory: false }])
      }))

    it('reads a whole file, whatever its size, and says where there is none', () =>
      run(async (disk, directory) => {
        for (const sizeBytes of [0, 1, 4095, 4096, 4097, 12_288, 100_000]) {
          const content = Buffer.alloc(sizeBytes, `${sizeBytes} bytes, `)
          await writeFileAtomically(disk, `${directory}/a`, content)
          expect((await disk.readFile(`${directory}/a`))?.equals(content)).toBe(true)
        }
        expect(await disk.readFile(`${directory}/none`)).toBeUndefined()
        expect(await disk.readFile(`${directory}/a/b`)).toBeUndefined()
        const error = await disk.readFile(directory).catch((caught: unknown) => caught)
        expect(error).toMatchObject({ code: 'EISDIR', path: directory })
      }))

    it('reads a directory in one call: all names, and of the chosen files sizes and small contents', () =>
      run(async (disk, directory) => {
        await disk.makeDirectory(`${directory}/d/inner`)
        for (const [name, sizeBytes] of Object.entries({ empty: 0, full: 8, large: 9, other: 3 }))
          await writeFileAtomically(disk, `${directory}/d/${name}`, Buffer.alloc(sizeBytes, name))
        let offered: readonly string[] = []
        const choose = (names: readonly string[]) => {
          offered = names
          return ['full', 'large', 'empty', 'none']
        }
        const files = await disk.readDirectory(`${directory}/d`, { choose, contentBytesMax: 8 })
        expect(offered).toEqual(['empty', 'full', 'large', 'other'])
        expect(files).toEqual([
          { name: 'empty', sizeBytes: 0, content: Buffer.alloc(0) },
          { name: 'full', sizeBytes: 8, content: Buffer.from('fullfull') },
          { name: 'large', sizeBytes: 9, content: undefined },
          { name: 'other', sizeBytes: undefined, content: undefined },
        ])
        await expectCode(disk.readDirectory(`${directory}/none`, { choose, contentBytesMax: 8 }), 'ENOENT')
        await expectCode(disk.readDirectory(`${directory}/d/full`, { choose, contentBytesMax: 8 }), 'ENOTDIR')
      }))

    it('syncs a file together with its directory, where both are there', () =>
      run(async (disk, directory) => {
        await writeFileAtomically(disk, `${directory}/a`, Buffer.from('abc'))
        await disk.syncWithName(directory, 'a')
        expect((await disk.readFile(`${directory}/a`))?.toString()).toBe('abc')
        await expectCode(disk.syncWithName(directory, 'none'), 'ENOENT')
        await expectCode(disk.syncWithName(`${directory}/none`, 'a'), 'ENOENT')
      }))

    it('tells the free and the total space', () =>
      run(async (disk, directory) => {
        const space = await disk.space(directory)
        expect(space.freeBytes).toBeGreaterThan(0)
        expect(space.totalBytes).toBeGreaterThanOrEqual(space.freeBytes)
      }))

    it('names the operation, the path and the code in its errors', () =>
      run(async (disk, directory) => {
        const error = await disk.open(`${directory}/none`, 'read').catch((caught: unknown) => caught)
        expect(error).toBeInstanceOf(DiskError)
        expect(error).toMatchObject({ code: 'ENOENT', path: `${directory}/none` })
        expect((error as Error).message).toContain(`open ${directory}/none: ENOENT`)
      }))
  })
}

async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'DiskError', code })
}
