import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Consumer } from '../../../src/client/index.ts'
import { ConsumerHarness } from './consumer-harness.ts'

const COUNT = 10
const PLACE = { topic: 'logs', partition: 0 }

let harness: ConsumerHarness

beforeEach(async () => {
  harness = await ConsumerHarness.start()
  await harness.sdk.node.createTopic('logs', 1)
  // Several batches: behind the last record of each, the loop draws the next one.
  for (let from = 0; from < COUNT; from += 2) await harness.fill('logs', 2, 1, from)
})

afterEach(async () => {
  await harness.stop()
  expect(harness.sdk.node.bugs).toEqual([])
})

describe.each<[string, (consumer: Consumer) => AsyncIterable<number[]>]>([
  ['records', offsetsOf],
  ['batches', batchOffsetsOf],
])('while a loop over %s goes on', (kind, offsetsFrom) => {
  /** Takes so many records, and then tells somebody else to act, without waiting for it. */
  async function takeAndTell(count: number, act: (consumer: Consumer, givenCount: number) => unknown) {
    const group = `${kind}-${count}`
    const { consumer } = await harness.member(group, { group, isIdle: true })
    await harness.until(() => consumer.lag() === COUNT)
    await harness.sdk.node.forMs(100)
    const given: number[] = []
    let tell = () => {}
    const acted = new Promise<void>(resolve => {
      tell = resolve
    }).then(() => act(consumer, given.length))
    const loop = (async () => {
      for await (const offsets of offsetsFrom(consumer)) {
        const isBefore = given.length < count
        given.push(...offsets)
        if (isBefore && given.length >= count) tell()
      }
    })()
    await harness.sdk.run(acted)
    return { group, consumer, given, loop }
  }

  it('close() commits nothing that it was not given', async () => {
    for (let count = 1; count < COUNT; count++) {
      let givenBefore = 0
      const { group, loop } = await takeAndTell(count, (consumer, givenCount) => {
        givenBefore = givenCount
        return consumer.close()
      })
      await harness.sdk.run(loop)
      expect(harness.groups.committed(group)['logs/0'], `after ${count}`).toBeLessThanOrEqual(givenBefore)
    }
  })

  it('pause() keeps back what it was not given, for later', async () => {
    for (let count = 1; count < COUNT; count++) {
      const { consumer, given } = await takeAndTell(count, consumer => consumer.pause([PLACE]))
      await harness.sdk.node.forMs(100)
      consumer.resume([PLACE])
      await harness.until(() => given.includes(COUNT - 1))
      expect(given, `after ${count}`).toEqual(Array.from({ length: COUNT }, (_, offset) => offset))
      await harness.sdk.run(consumer.close())
    }
  })
})

async function* offsetsOf(consumer: Consumer): AsyncIterable<number[]> {
  for await (const { offset } of consumer) yield [offset]
}

async function* batchOffsetsOf(consumer: Consumer): AsyncIterable<number[]> {
  for await (const { records } of consumer.batches()) yield records.map(({ offset }) => offset)
}
