import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TimerQueue } from '../../src/machine/timer-queue.ts'

describe('TimerQueue', () => {
  it('gives out timers by deadline, equal ones in the order in which they were set', () => {
    const queue = new TimerQueue<string>()
    queue.set('b', { deadlineMs: 20, value: 'second' })
    queue.set('a', { deadlineMs: 20, value: 'third' })
    queue.set('c', { deadlineMs: 10, value: 'first' })
    expect(queue.nextDeadlineMs).toBe(10)
    expect(queue.takeDue(9)).toBeUndefined()
    expect([queue.takeDue(20), queue.takeDue(20), queue.takeDue(20)].map(timer => timer?.value)).toEqual([
      'first',
      'second',
      'third',
    ])
    expect(queue.nextDeadlineMs).toBeUndefined()
  })

  it('agrees with a sorted list over random sets, moves and takes', () => {
    const step = fc.tuple(fc.constantFrom('set', 'set', 'set', 'take'), fc.nat(20), fc.nat(50))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), steps => {
        const queue = new TimerQueue<number>()
        let twin: { key: string; deadlineMs: number; sequence: number }[] = []
        steps.forEach(([kind, number, timeMs], sequence) => {
          const key = `k${number}`
          if (kind === 'take') {
            twin.sort((a, b) => a.deadlineMs - b.deadlineMs || a.sequence - b.sequence)
            const first = twin[0]
            const due = first !== undefined && first.deadlineMs <= timeMs ? twin.shift() : undefined
            expect(queue.takeDue(timeMs)).toEqual(due && { key: due.key, value: due.sequence })
          } else {
            twin = twin.filter(timer => timer.key !== key)
            twin.push({ key, deadlineMs: timeMs, sequence })
            queue.set(key, { deadlineMs: timeMs, value: sequence })
          }
          expect(queue.size).toBe(twin.length)
          const nextMs = twin.length === 0 ? undefined : Math.min(...twin.map(timer => timer.deadlineMs))
          expect(queue.nextDeadlineMs).toBe(nextMs)
        })
      }),
      { numRuns: 200 },
    )
  })
})
