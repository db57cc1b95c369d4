import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OffsetWaiters } from '../../../src/drivers/replicas/offset-waiters.ts'

test('each waiter is released once, when its end is passed and not before, in the order of ends', () => {
  const step = fc.oneof(
    fc.record({ add: fc.nat(40) }),
    fc.record({ pass: fc.nat(40) }),
    fc.constant({ drain: true as const }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 700 }), steps => {
      const waiters = new OffsetWaiters<{ end: number; id: number }>()
      let twin: { end: number; id: number }[] = []
      let passed = 0
      let id = 0
      for (const one of steps) {
        const released: { end: number; id: number }[] = []
        if ('add' in one) {
          const waiter = { end: passed + 1 + one.add, id: id++ }
          waiters.add(waiter.end, waiter)
          twin.push(waiter)
        } else if ('pass' in one) {
          passed += one.pass
          waiters.passed(passed, waiter => released.push(waiter))
          const due = twin.filter(waiter => waiter.end <= passed).sort((a, b) => a.end - b.end || a.id - b.id)
          twin = twin.filter(waiter => waiter.end > passed)
          expect(released).toEqual(due)
        } else {
          waiters.drain(waiter => released.push(waiter))
          expect(released.length).toBe(twin.length)
          twin = []
        }
        expect(waiters.size).toBe(twin.length)
      }
    }),
    { numRuns: 200 },
  )
})
