import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LevelStore } from '../../src/ports/level-store.ts'
import { keyValueStoreSuite } from '../suites/key-value-store.suite.ts'

keyValueStoreSuite('LevelDB', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'naru-level-'))
  return {
    open: () => LevelStore.open(join(directory, 'state')),
    finish: promise => promise,
    dispose: () => rm(directory, { recursive: true, force: true }),
  }
})

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'naru-level-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

it('says that a directory is damaged, and opens it again once destroyed', async () => {
  const store = await LevelStore.open(directory)
  await store.write([{ kind: 'put', key: Buffer.from('a'), value: Buffer.from('1') }], { sync: true })
  await store.close()
  for (const name of await readdir(directory))
    if (name.startsWith('MANIFEST')) await writeFile(join(directory, name), 'not a manifest')
  await expect(LevelStore.open(directory)).rejects.toMatchObject({
    reason: 'DATA_DIRECTORY_DAMAGED',
    message: expect.stringContaining(directory),
  })
  await LevelStore.destroy(directory)
  const fresh = await LevelStore.open(directory)
  expect(await fresh.get(Buffer.from('a'))).toBeUndefined()
  await fresh.close()
})

it('does not destroy a store that is open', async () => {
  const store = await LevelStore.open(directory)
  await expect(LevelStore.destroy(directory)).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_IN_USE' })
  await store.close()
})
