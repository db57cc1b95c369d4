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

it('lets all ticks that are due in one period come together, whenever they were asked for', () => {
  vi.useFakeTimers()
  const clock = new SystemClock()
  const ticks: string[] = []
  const come = (name: string, periodMs: number) => {
    const again = () =>
      clock.setTick(periodMs, () => {
        ticks.push(`${name} ${Math.round(clock.monotonicMs() % 100)}`)
        again()
      })
    again()
  }
  vi.advanceTimersByTime(130 - (clock.monotonicMs() % 100))
  come('a', 100)
  vi.advanceTimersByTime(21)
  come('b', 100)
  come('c', 50)
  vi.advanceTimersByTime(150)
  expect(ticks).toEqual(['a 0', 'b 0', 'c 0', 'c 50', 'a 0', 'b 0', 'c 0'])
})

it('takes a tick that comes early for the one that was due, and calls no cancelled one', () => {
  vi.useFakeTimers()
  const clock = new SystemClock()
  vi.advanceTimersByTime(199 - (clock.monotonicMs() % 100))
  let calls = 0
  clock.setTick(100, () => calls++)
  const cancelled = clock.setTick(100, () => calls++)
  cancelled.cancel()
  vi.advanceTimersByTime(90)
  expect(calls).toBe(0)
  vi.advanceTimersByTime(20)
  expect(calls).toBe(1)
  clock.setTick(100, () => calls++)
  clock.close()
  vi.advanceTimersByTime(300)
  expect(calls).toBe(1)
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
