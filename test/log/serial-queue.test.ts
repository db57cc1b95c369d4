import { expect, it } from 'vitest'
import { SerialQueues } from '../../src/log/serial-queue.ts'

/** Work that ends when it is told to. */
function held() {
  let end = (): void => {}
  const ended = new Promise<void>(resolve => {
    end = resolve
  })
  return { end, work: () => ended }
}

it('runs what is of one name one after the other, and forgets the name when nothing is left', async () => {
  const queues = new SerialQueues()
  const order: string[] = []
  const first = held()
  const runs = [
    queues.run('a', async () => {
      await first.work()
      order.push('a1')
    }),
    queues
      .run('a', async () => {
        order.push('a2')
        throw new Error('failed')
      })
      .catch(() => {}),
    queues.run('a', async () => order.push('a3')),
  ]
  await queues.run('b', async () => order.push('b'))
  expect(order).toEqual(['b'])
  expect(queues.size).toBe(1)
  let isIdle = false
  const idle = queues.idle().then(() => {
    isIdle = true
  })
  expect(isIdle).toBe(false)
  first.end()
  await Promise.all([...runs, idle])
  expect(order).toEqual(['b', 'a1', 'a2', 'a3'])
  expect(queues.size).toBe(0)
})
