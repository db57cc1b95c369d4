import { afterEach, expect, it, vi } from 'vitest'
import { SystemClock } from '../../src/ports/system-clock.ts'

afterEach(() => {
  vi.useRealTimers()
})

it('waits for a timer beyond the 24.8 days that Node itself can wait', () => {
  vi.useFakeTimers()
  const clock = new SystemClock()
  let calls = 0
  clock.setTimer(2 ** 31 + 5000, () => calls++)
  vi.advanceTimersByTime(2 ** 31 + 4000)
  expect(calls).toBe(0)
  vi.advanceTimersByTime(2000)
  expect(calls).toBe(1)
})

it('calls nobody back once it is closed', () => {
  vi.useFakeTimers()
  const clock = new SystemClock()
  const calls: string[] = []
  clock.setTimer(1, () => calls.push('timer'))
  clock.afterTurn(() => calls.push('turn'))
  clock.close()
  clock.setTimer(1, () => calls.push('late timer'))
  clock.afterTurn(() => calls.push('late turn'))
  vi.advanceTimersByTime(1000)
  expect(calls).toEqual([])
})

it('does not call a cancelled timer, and calls the others once', () => {
  vi.useFakeTimers()
  const clock = new SystemClock()
  const calls: string[] = []
  const cancelled = clock.setTimer(5, () => calls.push('cancelled'))
  clock.setTimer(6, () => calls.push('kept'))
  cancelled.cancel()
  cancelled.cancel()
  vi.advanceTimersByTime(1000)
  expect(calls).toEqual(['kept'])
})

it('calls back after the turn, when the promise reactions of this one are done', async () => {
  const clock = new SystemClock()
  const order: string[] = []
  const turned = new Promise<void>(resolve => {
    clock.afterTurn(() => {
      order.push('after turn')
      resolve()
    })
  })
  Promise.resolve().then(() => order.push('reaction'))
  order.push('now')
  await turned
  expect(order).toEqual(['now', 'reaction', 'after turn'])
})

it('has monotonic time that never goes back and integer wall time', () => {
  const clock = new SystemClock()
  const before = clock.monotonicMs()
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(before)
  expect(Number.isInteger(clock.wallMs())).toBe(true)
})
