import { expect, it } from 'vitest'
import { delay } from '../../src/ports/clock.ts'
import { EventScheduler } from './event-scheduler.ts'
import { SeededPrng } from './seeded-prng.ts'
import { SIM_WALL_START_MS, SimClock, SimMachineTime } from './sim-clock.ts'
import { SimIncarnation } from './sim-incarnation.ts'

function scheduler(seed = 1) {
  return new EventScheduler(new SeededPrng(seed))
}

it('runs events in the order of time, and stands at the time of each', async () => {
  const events = scheduler()
  const order: number[] = []
  const prng = new SeededPrng(5)
  for (let index = 0; index < 500; index++) {
    const at = prng.uint32() % 1000
    events.schedule(at, () => {
      expect(events.nowMs).toBe(at)
      order.push(at)
    })
  }
  while (await events.step());
  expect(order).toHaveLength(500)
  expect(order).toEqual([...order].sort((a, b) => a - b))
})

it('shuffles events of one moment by seed', async () => {
  const orders = new Set<string>()
  for (let seed = 0; seed < 50; seed++) {
    const events = scheduler(seed)
    const order: string[] = []
    for (const name of 'abc') events.schedule(10, () => order.push(name))
    await events.runFor(10)
    orders.add(order.join(''))
  }
  expect(orders.size).toBe(6)
})

it('lets all promise reactions of an event happen before the next one', async () => {
  const events = scheduler()
  const order: string[] = []
  events.schedule(1, async () => {
    for (let hop = 0; hop < 20; hop++) await Promise.resolve()
    order.push('reactions of the first')
  })
  events.schedule(2, () => order.push('second'))
  await events.runFor(2)
  expect(order).toEqual(['reactions of the first', 'second'])
})

it('runs what was asked for after the turn after everything else of the moment', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const events = scheduler(seed)
    const clock = new SimClock(new SimIncarnation(events, 'node-1'))
    const order: string[] = []
    clock.afterTurn(() => order.push('after'))
    events.schedule(0, () => {
      order.push('message')
      events.schedule(0, () => order.push('message'))
    })
    await events.runFor(1)
    expect(order).toEqual(['message', 'message', 'after'])
  }
})

it('observes after each event, and ends the run with what an observer throws', async () => {
  const events = scheduler()
  let value = 0
  events.observe(() => {
    if (value > 1) throw new Error('the invariant does not hold')
  })
  events.schedule(1, () => value++)
  events.schedule(2, () => value++)
  expect(await events.step()).toBe(true)
  await expect(events.step()).rejects.toThrow('the invariant does not hold')
})

it('fails when what it waits for cannot happen, cannot happen in time, or takes too many steps', async () => {
  await expect(scheduler().runUntil(() => false)).rejects.toThrow('nothing is left')
  const late = scheduler()
  late.schedule(50, () => {})
  await expect(late.runUntil(() => false, { timeMsMax: 10 })).rejects.toThrow('not reached in time')
  const endless = scheduler()
  const again = () => void endless.schedule(1, again)
  again()
  await expect(endless.runUntil(() => false, { stepsMax: 100 })).rejects.toThrow('within 100 steps')
})

it('does not run cancelled events, and is idle when none is left', async () => {
  const events = scheduler()
  const order: string[] = []
  events.schedule(1, () => order.push('cancelled')).cancel()
  expect(events.isIdle).toBe(true)
  await events.runFor(5)
  expect(order).toEqual([])
  expect(events.nowMs).toBe(5)
})

it('gives a machine wall time with offset and steps, which monotonic time does not follow', async () => {
  const events = scheduler()
  const time = new SimMachineTime({ offsetMs: -5000 })
  const clock = new SimClock(new SimIncarnation(events, 'node-1'), time)
  expect(clock.wallMs()).toBe(SIM_WALL_START_MS - 5000)
  await events.runFor(100)
  time.stepWall(-3_600_000)
  expect(clock.wallMs()).toBe(SIM_WALL_START_MS - 5000 + 100 - 3_600_000)
  expect(clock.monotonicMs()).toBe(100)
})

it('lets a fast oscillator fire its timers early, by its own time on time', async () => {
  const events = scheduler()
  const clock = new SimClock(new SimIncarnation(events, 'node-1'), new SimMachineTime({ driftPpm: 100_000 }))
  let firedAtMs = 0
  clock.setTimer(1100, () => {
    firedAtMs = events.nowMs
  })
  await events.runFor(2000)
  expect(firedAtMs).toBeCloseTo(1000, 6)
  expect(clock.monotonicMs()).toBeCloseTo(2200, 6)
})

it('brings nothing to a killed process', async () => {
  const events = scheduler()
  const incarnation = new SimIncarnation(events, 'node-1')
  const clock = new SimClock(incarnation)
  const order: string[] = []
  clock.setTimer(5, () => order.push('timer'))
  clock.afterTurn(() => order.push('turn'))
  delay(clock, 1).then(() => order.push('promise'))
  incarnation.kill()
  clock.setTimer(1, () => order.push('late'))
  await events.runFor(100)
  expect(order).toEqual([])
})

it('holds back from a paused process what is due, and brings it in order when it goes on', async () => {
  const events = scheduler()
  const incarnation = new SimIncarnation(events, 'node-1')
  const clock = new SimClock(incarnation)
  const order: string[] = []
  clock.setTimer(10, () => order.push('first'))
  const cancelled = clock.setTimer(15, () => order.push('cancelled'))
  clock.setTimer(20, () => {
    order.push('second')
    cancelled.cancel()
  })
  incarnation.pause()
  await events.runFor(5000)
  expect(order).toEqual([])
  cancelled.cancel()
  incarnation.resume()
  await events.runFor(0)
  expect(order).toEqual(['first', 'second'])
  expect(clock.monotonicMs()).toBe(5000)
})
