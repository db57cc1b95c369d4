import { expect, it } from 'vitest'
import { ByteBudget } from '../../src/service/byte-budget.ts'

it('serves who waits in order, and lets nobody overtake', () => {
  const budget = new ByteBudget(100)
  const granted: string[] = []
  expect(budget.tryTake(70)).toBe(true)
  budget.take(60, () => granted.push('large'))
  budget.take(10, () => granted.push('small'))
  expect(budget.tryTake(1)).toBe(false)
  budget.giveBack(10)
  expect(granted).toEqual([])
  budget.giveBack(60)
  expect(granted).toEqual(['large', 'small'])
  expect(budget.takenBytes).toBe(70)
})

it('gives more than there is to one who is alone', () => {
  const budget = new ByteBudget(100)
  expect(budget.tryTake(500)).toBe(true)
  expect(budget.tryTake(1)).toBe(false)
  budget.giveBack(500)
  expect(budget.takenBytes).toBe(0)
})

it('forgets who has left the line', () => {
  const budget = new ByteBudget(100)
  const granted: string[] = []
  budget.tryTake(100)
  const leave = budget.take(50, () => granted.push('gone'))
  budget.take(50, () => granted.push('next'))
  leave()
  budget.giveBack(100)
  expect(granted).toEqual(['next'])
  expect(budget.takenBytes).toBe(50)
})

it('serves a long line of takers that give back at once, without a call inside a call each', () => {
  const budget = new ByteBudget(100)
  let served = 0
  budget.tryTake(100)
  for (let taker = 0; taker < 50_000; taker++)
    budget.take(60, () => {
      served++
      budget.giveBack(60)
    })
  budget.giveBack(100)
  expect(served).toBe(50_000)
  expect(budget.takenBytes).toBe(0)
})

it('serves those behind who has left the line, if they fit', () => {
  const budget = new ByteBudget(100)
  const granted: string[] = []
  budget.tryTake(60)
  const leave = budget.take(50, () => granted.push('large'))
  budget.take(40, () => granted.push('small'))
  expect(granted).toEqual([])
  leave()
  expect(granted).toEqual(['small'])
})
