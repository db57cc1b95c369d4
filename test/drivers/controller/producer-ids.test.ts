import { expect, test } from 'vitest'
import { ProducerIds } from '../../../src/drivers/controller/producer-ids.ts'

test('no id is handed out twice, however many ask at once', async () => {
  let next = 0
  let asked = 0
  const ids = new ProducerIds({
    allocate: async () => {
      asked++
      const first = next
      next += 3
      return { first, count: 3 }
    },
  })
  const handed = await Promise.all(Array.from({ length: 10 }, () => ids.next()))
  expect([...handed].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  expect(asked).toBe(4)
})

test('a refused block fails those who wait, and the next one asks again', async () => {
  let refuse = true
  const ids = new ProducerIds({
    allocate: async () => {
      if (refuse) throw new Error('no controller')
      return { first: 100, count: 1 }
    },
  })
  await expect(Promise.all([ids.next(), ids.next()])).rejects.toThrow('no controller')
  refuse = false
  expect(await ids.next()).toBe(100)
})
