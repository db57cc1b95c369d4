import { expect, it } from 'vitest'
import { ConcurrencyLimit } from '../../src/service/concurrency-limit.ts'
import { failureOf } from '../harness/recorded-stream.ts'

it('runs so many at a time, in order, and refuses more than may wait', async () => {
  const limit = new ConcurrencyLimit({ what: 'lookups', runningMax: 1, waitingMax: 2 })
  const order: string[] = []
  let finish: () => void = () => {}
  const first = limit.run(
    () =>
      new Promise<void>(resolve => {
        finish = resolve
      }),
  )
  await Promise.resolve()
  const waiting = ['a', 'b'].map(name => limit.run(async () => void order.push(name)))
  const refused = await failureOf(limit.run(async () => void order.push('c')))
  expect(refused).toMatchObject({ reason: 'OVERLOADED', message: expect.stringContaining('2 lookups wait') })
  expect(order).toEqual([])
  finish()
  await Promise.all([first, ...waiting])
  await limit.run(async () => void order.push('later'))
  expect(order).toEqual(['a', 'b', 'later'])
})
