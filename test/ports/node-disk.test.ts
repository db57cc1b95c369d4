import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { NodeDisk } from '../../src/ports/node-disk.ts'
import { diskSuite } from '../suites/disk.suite.ts'

diskSuite('the file system', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'naru-disk-'))
  return {
    disk: new NodeDisk(),
    directory,
    finish: promise => promise,
    dispose: () => rm(directory, { recursive: true, force: true }),
  }
})

it('lists a link to a directory as a directory, so that a partition can be moved by hand', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'naru-disk-'))
  try {
    await writeFile(join(directory, 'file'), '')
    await symlink(directory, join(directory, 'link'))
    await symlink(join(directory, 'none'), join(directory, 'broken'))
    expect(await new NodeDisk().list(directory)).toEqual([
      { name: 'broken', isDirectory: false },
      { name: 'file', isDirectory: false },
      { name: 'link', isDirectory: true },
    ])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
