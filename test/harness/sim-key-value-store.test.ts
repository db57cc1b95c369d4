import { expect, it } from 'vitest'
import { keyValueStoreSuite } from '../suites/key-value-store.suite.ts'
import { EventScheduler } from './event-scheduler.ts'
import { SeededPrng } from './seeded-prng.ts'
import { SimIncarnation } from './sim-incarnation.ts'
import { SimKeyValueImage } from './sim-key-value-store.ts'

function machine(seed: number) {
  const prng = new SeededPrng(seed)
  const scheduler = new EventScheduler(prng.fork('scheduler'))
  const image = new SimKeyValueImage({ scheduler, prng: prng.fork('store') })
  return { scheduler, image, incarnation: new SimIncarnation(scheduler, 'node-1') }
}

keyValueStoreSuite('simulated', async () => {
  const { scheduler, image, incarnation } = machine(1)
  return {
    open: async () => image.open(incarnation),
    finish: promise => scheduler.finish(promise),
    dispose: async () => {},
  }
})

const put = (key: string) => ({ kind: 'put' as const, key: Buffer.from(key), value: Buffer.from(key) })

async function keysAfterPowerCut(seed: number, skipsDamagedBlocks: boolean): Promise<string[]> {
  const { scheduler, image, incarnation } = machine(seed)
  image.skipsDamagedBlocks = skipsDamagedBlocks
  const store = image.open(incarnation)
  await scheduler.finish(store.write([put('a')], { sync: false }))
  await scheduler.finish(store.write([put('b'), put('b2')], { sync: true }))
  for (const key of ['c', 'd', 'e']) await scheduler.finish(store.write([put(key)], { sync: false }))
  image.powerCut()
  return image.pairs({}).map(([key]) => key.toString())
}

it('keeps what a sync covered and a prefix of the rest after a power cut', async () => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 100; seed++) outcomes.add((await keysAfterPowerCut(seed, false)).join(' '))
  expect([...outcomes].sort()).toEqual(['a b b2', 'a b b2 c', 'a b b2 c d', 'a b b2 c d e'])
})

it('may lose batches in the middle when told to skip damaged blocks, never a synced one', async () => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 200; seed++) outcomes.add((await keysAfterPowerCut(seed, true)).join(' '))
  expect(outcomes).toContain('a b b2 d e')
  for (const outcome of outcomes) expect(outcome.startsWith('a b b2')).toBe(true)
})

it('loses nothing that was answered when only the process is killed', async () => {
  const { scheduler, image, incarnation } = machine(3)
  await scheduler.finish(image.open(incarnation).write([put('a')], { sync: false }))
  incarnation.kill()
  expect(image.pairs({}).map(([key]) => key.toString())).toEqual(['a'])
})

it('never answers a dead process', async () => {
  const { scheduler, image, incarnation } = machine(4)
  const store = image.open(incarnation)
  let isAnswered = false
  store.write([put('a')], { sync: true }).finally(() => {
    isAnswered = true
  })
  incarnation.kill()
  store.get(Buffer.from('a')).finally(() => {
    isAnswered = true
  })
  await scheduler.runFor(1000)
  expect(isAnswered).toBe(false)
})
