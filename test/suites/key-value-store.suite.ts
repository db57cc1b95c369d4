import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { KeyValueStore } from '../../src/ports/key-value-store.ts'

export interface StoreUnderTest {
  open(): Promise<KeyValueStore>
  finish<T>(promise: Promise<T>): Promise<T>
  dispose(): Promise<void>
}

/** What every form of the KeyValueStore port does, seen by one living process. */
export function keyValueStoreSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`key-value store: ${name}`, () => {
    let subject: StoreUnderTest
    const run = (work: (store: KeyValueStore) => Promise<void>) =>
      subject.finish(
        (async () => {
          const store = await subject.open()
          try {
            await work(store)
          } finally {
            await store.close()
          }
        })(),
      )

    beforeEach(async () => {
      subject = await make()
    })
    afterEach(() => subject.dispose())

    it('gives back what was put, as bytes', () =>
      run(async store => {
        await store.write([put('a', '1'), put('empty', '')], { sync: false })
        expect((await store.get(key('a')))?.toString()).toBe('1')
        expect(await store.get(key('empty'))).toEqual(Buffer.alloc(0))
        expect(await store.get(key('none'))).toBeUndefined()
        const binary = Buffer.from([0, 255, 128, 10])
        await store.write([{ kind: 'put', key: binary, value: binary }], { sync: true })
        expect(await store.get(new Uint8Array(binary))).toEqual(binary)
      }))

    it('applies the changes of a batch in order', () =>
      run(async store => {
        await store.write([put('a', '1'), put('b', '1'), remove('a'), put('b', '2')], { sync: false })
        expect(await store.get(key('a'))).toBeUndefined()
        expect((await store.get(key('b')))?.toString()).toBe('2')
        await store.write([], { sync: true })
      }))

    it('iterates from (included) to (excluded) in the order of bytes', () =>
      run(async store => {
        await store.write(
          [[255], [0], [1, 0], [1], [127], [128]].map(bytes => ({
            kind: 'put' as const,
            key: Buffer.from(bytes),
            value: Buffer.from('v'),
          })),
          { sync: false },
        )
        expect(await keysOf(store, {})).toEqual(['00', '01', '0100', '7f', '80', 'ff'])
        expect(await keysOf(store, { from: Buffer.from([1]), to: Buffer.from([128]) })).toEqual([
          '01',
          '0100',
          '7f',
        ])
        expect(await keysOf(store, { from: Buffer.from([129]) })).toEqual(['ff'])
      }))

    it('shows one moment to an iteration, whatever is written meanwhile', () =>
      run(async store => {
        const batch = Array.from({ length: 1000 }, (_, index) => put(String(index).padStart(4, '0'), 'old'))
        await store.write(batch, { sync: false })
        let count = 0
        for await (const page of store.pages({})) {
          if (count === 0) {
            await store.write([put('0500', 'new'), remove('0700'), put('x', 'new')], { sync: false })
          }
          for (const [, value] of page) expect(value.toString()).toBe('old')
          expect(page.length).toBeGreaterThan(0)
          count += page.length
        }
        expect(count).toBe(1000)
      }))

    it('can leave an iteration early', () =>
      run(async store => {
        await store.write([put('a', '1'), put('b', '2')], { sync: false })
        for await (const [first] of store.pages({})) {
          expect(first?.[0].toString()).toBe('a')
          break
        }
      }))

    it('clears a range and nothing else', () =>
      run(async store => {
        await store.write([put('a', '1'), put('b', '2'), put('c', '3')], { sync: false })
        await store.clear({ from: key('b'), to: key('c') })
        expect(await keysOf(store, {})).toEqual(['61', '63'])
        await store.clear({})
        expect(await keysOf(store, {})).toEqual([])
      }))

    it('has everything again when opened again', () =>
      subject.finish(
        (async () => {
          const first = await subject.open()
          await first.write([put('a', '1')], { sync: false })
          await first.close()
          const second = await subject.open()
          expect((await second.get(key('a')))?.toString()).toBe('1')
          await second.close()
        })(),
      ))

    it('refuses a second open and calls after close, each by name', () =>
      subject.finish(
        (async () => {
          const store = await subject.open()
          await expect(subject.open()).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_IN_USE' })
          await store.close()
          await expect(store.get(key('a'))).rejects.toMatchObject({ reason: 'CLOSED' })
          await expect(store.write([], { sync: true })).rejects.toMatchObject({ reason: 'CLOSED' })
        })(),
      ))
  })
}

function key(text: string): Buffer {
  return Buffer.from(text)
}

function put(name: string, value: string) {
  return { kind: 'put' as const, key: key(name), value: Buffer.from(value) }
}

function remove(name: string) {
  return { kind: 'delete' as const, key: key(name) }
}

async function keysOf(store: KeyValueStore, range: { from?: Buffer; to?: Buffer }): Promise<string[]> {
  const keys: string[] = []
  for await (const page of store.pages(range)) for (const [found] of page) keys.push(found.toString('hex'))
  return keys
}
