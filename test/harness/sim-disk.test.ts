import { describe, expect, it } from 'vitest'
import { type Disk, writeFileAtomically } from '../../src/ports/disk.ts'
import { diskSuite } from '../suites/disk.suite.ts'
import { SimIncarnation } from './sim-incarnation.ts'
import { SimMachine } from './sim-machine.ts'

diskSuite('simulated', async () => {
  const machine = new SimMachine(1)
  await machine.run(disk => disk.makeDirectory('data'))
  return {
    disk: machine.disk,
    directory: 'data',
    finish: promise => machine.scheduler.finish(promise),
    dispose: async () => {},
  }
})

/** All states that some seed leaves after the power cut that ends the story. */
async function outcomes(
  seeds: number,
  story: (disk: Disk, machine: SimMachine) => Promise<void>,
  look: (disk: Disk) => Promise<string>,
): Promise<string[]> {
  const found = new Set<string>()
  for (let seed = 0; seed < seeds; seed++) {
    const machine = new SimMachine(seed)
    await machine.run(disk => story(disk, machine))
    machine.image.powerCut()
    found.add(await machine.run(look))
  }
  return [...found].sort()
}

async function durableFile(disk: Disk, path: string, content: string) {
  const file = await disk.open(path, 'create')
  await file.append([Buffer.from(content)])
  await file.sync()
  await disk.syncDirectory('.')
  return file
}

async function text(disk: Disk, path: string): Promise<string> {
  const bytes = await disk.readFile(path)
  if (!bytes) return 'gone'
  return bytes.toString('latin1').replaceAll('\0', '0')
}

describe('power cut', () => {
  it('keeps synced bytes, and may keep any part of those appended after', async () => {
    const found = await outcomes(
      400,
      async disk => {
        const file = await durableFile(disk, 'f', 'sync')
        await file.append([Buffer.from('ABCD')])
      },
      disk => text(disk, 'f'),
    )
    for (const state of found) expect(state).toMatch(/^sync[A0]?[B0]?[C0]?[D0]?$/)
    expect(found).toContain('sync')
    expect(found).toContain('syncABCD')
    expect(found, 'the length may reach the disk before the bytes').toContain('sync0000')
    expect(found).toContain('syncAB')
  })

  it('may lose an earlier unsynced sector and keep a later one', async () => {
    const found = await outcomes(
      100,
      async disk => {
        const file = await durableFile(disk, 'f', '')
        for (const letter of 'abc') await file.append([Buffer.alloc(512, letter)])
      },
      async disk => {
        const bytes = (await disk.readFile('f')) as Buffer
        return [0, 512, 1024]
          .map(at => (bytes.length > at ? String.fromCharCode(bytes[at] || 48) : '-'))
          .join('')
      },
    )
    expect(found).toContain('0bc')
    expect(found).toContain('a0c')
    expect(found).toContain('---')
  })

  it('tears a sector: its first bytes old, its last new', async () => {
    const found = await outcomes(
      100,
      async disk => {
        const file = await durableFile(disk, 'f', 'x'.repeat(512))
        await file.truncate(0)
        await file.append([Buffer.alloc(512, 'y')])
      },
      disk => text(disk, 'f'),
    )
    expect(found.some(state => /^y+x+$/.test(state))).toBe(true)
  })

  it('may undo a cut that was not synced', async () => {
    const found = await outcomes(
      60,
      async disk => {
        const file = await durableFile(disk, 'f', 'abcdef')
        await file.truncate(2)
      },
      disk => text(disk, 'f'),
    )
    expect(found).toContain('abcdef')
    expect(found).toContain('ab')
  })

  it('keeps a new file that was synced with its name', async () => {
    const found = await outcomes(
      30,
      async disk => {
        const file = await disk.open('f', 'create')
        await file.append([Buffer.from('abc')])
        await disk.syncWithName('.', 'f')
      },
      disk => text(disk, 'f'),
    )
    expect(found).toEqual(['abc'])
  })

  it('forgets a new file whose directory was not synced, synced as it may be itself', async () => {
    const found = await outcomes(
      40,
      async disk => {
        const file = await disk.open('f', 'create')
        await file.append([Buffer.from('abc')])
        await file.sync()
      },
      disk => text(disk, 'f'),
    )
    expect(found).toEqual(['abc', 'gone'])
  })

  it('may bring back a removed file until the directory is synced', async () => {
    const story = (isSynced: boolean) => async (disk: Disk) => {
      await durableFile(disk, 'f', 'abc')
      await disk.remove('f')
      if (isSynced) await disk.syncDirectory('.')
    }
    expect(await outcomes(40, story(false), disk => text(disk, 'f'))).toEqual(['abc', 'gone'])
    expect(await outcomes(40, story(true), disk => text(disk, 'f'))).toEqual(['gone'])
  })

  it('shows a rename wholly or not at all', async () => {
    const found = await outcomes(
      60,
      async disk => {
        await durableFile(disk, 'f', 'old')
        await durableFile(disk, 'f.tmp', 'new')
        await disk.rename('f.tmp', 'f')
      },
      async disk => `${await text(disk, 'f')} ${await text(disk, 'f.tmp')}`,
    )
    expect(found).toEqual(['new gone', 'old new'])
  })

  it('does not find a moved file at its old, never synced, name', async () => {
    const found = await outcomes(
      60,
      async disk => {
        await disk.makeDirectory('to')
        await disk.syncDirectory('.')
        const file = await disk.open('f', 'create')
        await file.sync()
        await disk.rename('f', 'to/f')
        await disk.syncDirectory('to')
      },
      async disk => `${await text(disk, 'f')} ${await text(disk, 'to/f')}`,
    )
    expect(found).toEqual(['gone '])
  })

  it('loses a directory with all its synced files until its parent is synced', async () => {
    const found = await outcomes(
      40,
      async disk => {
        await disk.makeDirectory('d')
        const file = await disk.open('d/f', 'create')
        await file.append([Buffer.from('abc')])
        await file.sync()
        await disk.syncDirectory('d')
      },
      disk => text(disk, 'd/f'),
    )
    expect(found).toEqual(['abc', 'gone'])
  })

  it('at every change of an atomic replacement leaves the old or the new content, and the new one at its end', async () => {
    for (let seed = 0; seed < 20; seed++) {
      for (let change = 1; ; change++) {
        const machine = new SimMachine(seed)
        await machine.run(disk => writeFileAtomically(disk, 'f', Buffer.from('old content')))
        let isCut = false
        machine.crashAtChange(machine.image.changes + change, () => {
          isCut = true
        })
        let isDone = false
        const replaced = writeFileAtomically(machine.disk, 'f', Buffer.from('new')).then(() => {
          isDone = true
        })
        await machine.scheduler.runFor(1000)
        if (!isCut) await replaced
        expect(isDone).toBe(!isCut)
        machine.image.powerCut()
        const state = await machine.run(disk => text(disk, 'f'))
        if (!isCut) {
          expect(state).toBe('new')
          break
        }
        expect(['old content', 'new']).toContain(state)
      }
    }
  })
})

describe('a killed process', () => {
  it('loses nothing that was answered, synced or not', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      const file = await disk.open('f', 'create')
      await file.append([Buffer.from('abc')])
    })
    machine.kill()
    expect(await machine.run(disk => text(disk, 'f'))).toBe('abc')
  })

  it('leaves what it had under way done, half done or not done', async () => {
    const found = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const machine = new SimMachine(seed)
      const file = await machine.run(disk => disk.open('f', 'create'))
      file.append([Buffer.from('ab')])
      machine.kill()
      found.add(await machine.run(disk => text(disk, 'f')))
    }
    expect([...found].sort()).toEqual(['', 'a', 'ab'])
  })

  it('gets no answer any more, and what it does afterwards has no effect', async () => {
    const machine = new SimMachine(1)
    const file = await machine.run(disk => disk.open('f', 'create'))
    const dead = machine.disk
    machine.kill()
    let answers = 0
    const answered = () => {
      answers++
    }
    file.append([Buffer.from('late')]).then(answered, answered)
    dead.remove('f').then(answered, answered)
    await machine.scheduler.runFor(1000)
    expect(answers).toBe(0)
    expect(await machine.run(disk => text(disk, 'f'))).toBe('')
  })

  it('must be dead before another one mounts the disk', () => {
    const machine = new SimMachine(1)
    const living = machine.incarnation
    expect(living.isAlive).toBe(true)
    expect(() => machine.image.mount(new SimIncarnation(machine.scheduler, 'second'))).toThrow(
      /still mounted/,
    )
  })
})

describe('faults', () => {
  it('a failed sync may lose bytes for good, though the next sync says it succeeded', async () => {
    const found = await outcomes(
      60,
      async (disk, machine) => {
        const file = await durableFile(disk, 'f', '')
        await file.append([Buffer.from('abc')])
        machine.image.onOperation = operation => (operation.kind === 'sync' ? 'EIO' : undefined)
        await expect(file.sync()).rejects.toMatchObject({ name: 'DiskError', code: 'EIO', path: 'f' })
        machine.image.onOperation = undefined
        expect((await file.read(0, 3)).toString(), 'the page cache still has them').toBe('abc')
        await file.sync()
      },
      disk => text(disk, 'f'),
    )
    expect(found).toEqual(['000', 'abc'])
  })

  it('a failed append moves no end: the next one starts where the failed one did', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      const file = await disk.open('f', 'create')
      await file.append([Buffer.from('ab')])
      machine.image.writeErrorProbability = 1
      await expect(file.append([Buffer.from('XXXX')])).rejects.toMatchObject({ code: 'EIO' })
      machine.image.writeErrorProbability = 0
      expect(file.sizeBytes).toBe(2)
      await file.append([Buffer.from('cdef')])
      expect((await file.read(0, 100)).toString()).toBe('abcdef')
    })
  })

  it('a full disk fails appends with ENOSPC and takes them again when space was freed', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await durableFile(disk, 'ballast', 'x'.repeat(90))
      machine.image.capacityBytes = 100
      const file = await disk.open('f', 'create')
      await expect(file.append([Buffer.alloc(20, 'y')])).rejects.toMatchObject({ code: 'ENOSPC' })
      expect(await disk.space('.')).toEqual({ freeBytes: 0, totalBytes: 100 })
      await disk.remove('ballast')
      await file.append([Buffer.alloc(20, 'y')])
      expect(file.sizeBytes).toBe(20)
    })
  })

  it('a stalled disk answers nothing until it goes on', async () => {
    const machine = new SimMachine(1)
    const file = await machine.run(disk => disk.open('f', 'create'))
    machine.image.stall()
    let isSynced = false
    file.sync().then(() => {
      isSynced = true
    })
    await machine.scheduler.runFor(60_000)
    expect(isSynced).toBe(false)
    machine.image.unstall()
    await machine.scheduler.runFor(1)
    expect(isSynced).toBe(true)
  })

  it('rot and cuts by the test change what is read', async () => {
    const machine = new SimMachine(1)
    await machine.run(disk => durableFile(disk, 'f', 'abcdef'))
    machine.image.flipBit('f', 1)
    machine.image.cutFile('f', 4)
    expect(await machine.run(disk => text(disk, 'f'))).toBe('accd')
  })

  it('holds the owner of a file to one append, truncate or sync at a time', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      const file = await disk.open('f', 'create')
      const syncing = file.sync()
      await expect(file.append([Buffer.from('a')])).rejects.toThrow('append of f while its sync is under way')
      await syncing
      await file.append([Buffer.from('a')])
    })
  })

  it('takes the bytes of an append when it happens: a buffer reused too early shows', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      const file = await disk.open('f', 'create')
      const buffer = Buffer.from('abc')
      const appended = file.append([buffer])
      buffer.fill('z')
      await appended
      expect((await file.read(0, 3)).toString()).toBe('zzz')
    })
  })
})

it('is a function of the seed', async () => {
  const digest = async () => {
    const machine = new SimMachine(42)
    await machine.run(async disk => {
      for (let index = 0; index < 20; index++)
        await writeFileAtomically(disk, `f${index % 3}`, Buffer.alloc(index * 100, index))
    })
    machine.image.powerCut()
    const state = await machine.run(async disk => JSON.stringify(await disk.list('.')))
    return `${machine.scheduler.digest} ${state}`
  }
  expect(await digest()).toBe(await digest())
})
