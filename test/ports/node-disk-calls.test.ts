import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { NodeDisk } from '../../src/ports/node-disk.ts'

type Done = (error: Error | null, count?: number) => void

/** The system's calls, misbehaving within what it is allowed to do. */
const calls = vi.hoisted(() => ({
  order: [] as string[],
  /** Bytes that one writev takes at most. */
  writeBytesMax: Number.POSITIVE_INFINITY,
  /** Code with which each sync fails. */
  syncError: undefined as string | undefined,
  held: undefined as (() => void)[] | undefined,
}))

vi.mock('node:fs', async importOriginal => {
  const fs = await importOriginal<typeof import('node:fs')>()
  return {
    ...fs,
    writev(fd: number, buffers: Uint8Array[], position: number, done: Done) {
      const taken = Buffer.concat(buffers).subarray(0, calls.writeBytesMax)
      fs.write(fd, taken, 0, taken.length, position, done)
    },
    read(fd: number, buffer: Buffer, offset: number, length: number, position: number, done: Done) {
      const start = () =>
        fs.read(fd, buffer, offset, length, position, (error, count) => {
          calls.order.push('read')
          done(error, count)
        })
      if (calls.held) calls.held.push(start)
      else start()
    },
    fdatasync(fd: number, done: Done) {
      if (calls.syncError) done(Object.assign(new Error('sync'), { code: calls.syncError }))
      else fs.fdatasync(fd, done)
    },
    close(fd: number, done: Done) {
      calls.order.push('close')
      fs.close(fd, done)
    },
  }
})

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'naru-disk-'))
})
afterEach(async () => {
  calls.writeBytesMax = Number.POSITIVE_INFINITY
  calls.held = undefined
  calls.syncError = undefined
  await rm(directory, { recursive: true, force: true })
})

it('goes on after short writes until all bytes are there, at buffer borders and inside', async () => {
  for (const writeBytesMax of [1, 2, 3, 4, 5, 7, 100]) {
    calls.writeBytesMax = writeBytesMax
    const path = join(directory, String(writeBytesMax))
    const file = await new NodeDisk().open(path, 'create')
    await file.append([Buffer.from('abc'), Buffer.alloc(0), Buffer.from('d'), Buffer.from('efgh')])
    await file.append([Buffer.from('ij')])
    expect(file.sizeBytes).toBe(10)
    await file.close()
    expect(await readFile(path, 'latin1')).toBe('abcdefghij')
  }
})

it('gives a write that gets nowhere up as failed', async () => {
  calls.writeBytesMax = 0
  const file = await new NodeDisk().open(join(directory, 'f'), 'create')
  await expect(file.append([Buffer.from('abc')])).rejects.toMatchObject({ name: 'DiskError', code: 'EIO' })
  await file.close()
})

it('closes a descriptor only after the reads under way: its number may be given to another file', async () => {
  const file = await new NodeDisk().open(join(directory, 'f'), 'create')
  await file.append([Buffer.from('abc')])
  calls.order.length = 0
  calls.held = []
  const read = file.read(0, 3)
  const closed = file.close()
  for (const start of calls.held) start()
  calls.held = undefined
  expect((await read).toString()).toBe('abc')
  await closed
  expect(calls.order).toEqual(['read', 'close'])
})

it('never tells of a sync without room as something that passes: the bytes may be lost already', async () => {
  const file = await new NodeDisk().open(join(directory, 'a.log'), 'create')
  await file.append([Buffer.from('abc')])
  for (const code of ['ENOSPC', 'EDQUOT', 'EIO']) {
    calls.syncError = code
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
  }
  await file.close()
})
