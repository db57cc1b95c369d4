import { describe, expect, it } from 'vitest'
import { OpenFiles } from '../../src/log/open-files.ts'
import type { Disk, DiskFile } from '../../src/ports/disk.ts'
import { SimMachine } from '../harness/sim-machine.ts'

/** Counts the handles that are open at the disk. */
function counting(disk: Disk): { disk: Disk; open: () => number; opened: string[] } {
  let open = 0
  const opened: string[] = []
  const counted = new Proxy(disk, {
    get(target, key) {
      if (key !== 'open') return Reflect.get(target, key).bind(target)
      return async (path: string, mode: 'write'): Promise<DiskFile> => {
        opened.push(path)
        const file = await target.open(path, mode)
        open++
        return new Proxy(file, {
          get(inner, name) {
            if (name === 'close') {
              open--
              return () => inner.close()
            }
            const value = Reflect.get(inner, name)
            return typeof value === 'function' ? value.bind(inner) : value
          },
        })
      }
    },
  })
  return { disk: counted, open: () => open, opened }
}

async function withFiles(machine: SimMachine, names: string[]): Promise<void> {
  for (const name of names) await (await machine.disk.open(name, 'create')).close()
}

describe('open files', () => {
  it('opens a path once for all, and closes the least recently used one at the limit', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      await withFiles(machine, ['a', 'b', 'c'])
      const { disk, open, opened } = counting(machine.disk)
      const files = new OpenFiles({ disk, openFilesMax: 2 })
      const use = (path: string) => files.use(path, async file => file.path)
      await Promise.all([use('a'), use('a'), use('b')])
      await use('a')
      await use('c')
      await use('a')
      expect(opened).toEqual(['a', 'b', 'c'])
      await use('b')
      expect(opened).toEqual(['a', 'b', 'c', 'b'])
      expect(open()).toBe(2)
      await files.close()
      expect(open()).toBe(0)
    })
  })

  it('lets users wait where all handles are in use, and takes back what a failed open held', async () => {
    const machine = new SimMachine(2)
    await machine.run(async () => {
      await withFiles(machine, ['a', 'b'])
      const files = new OpenFiles({ disk: machine.disk, openFilesMax: 1 })
      const order: string[] = []
      let release = () => {}
      const first = files.use('a', () => new Promise<void>(resolve => (release = resolve)))
      const second = files.use('b', async () => order.push('b'))
      const missing = files.use('missing', async () => order.push('missing'))
      await new Promise<void>(resolve => machine.clock.setTimer(10, resolve))
      expect(order).toEqual([])
      release()
      await Promise.all([first, second])
      await expect(missing).rejects.toMatchObject({ code: 'ENOENT' })
      await files.use('a', async () => order.push('a'))
      expect(order).toEqual(['b', 'a'])
    })
  })

  it('keeps a forgotten file open for those who use it, and for nobody else', async () => {
    const machine = new SimMachine(3)
    await machine.run(async () => {
      await withFiles(machine, ['a'])
      const { disk, open, opened } = counting(machine.disk)
      const files = new OpenFiles({ disk, openFilesMax: 4 })
      let release = () => {}
      const user = files.use('a', async file => {
        await new Promise<void>(resolve => (release = resolve))
        return file.read(0, 1)
      })
      await new Promise<void>(resolve => machine.clock.setTimer(10, resolve))
      files.forget('a')
      await files.use('a', async () => {})
      expect(opened).toEqual(['a', 'a'])
      release()
      expect((await user).length).toBe(0)
      await files.close()
      expect(open()).toBe(0)
    })
  })
})
