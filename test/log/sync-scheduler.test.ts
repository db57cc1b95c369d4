import { describe, expect, it } from 'vitest'
import { SyncScheduler } from '../../src/log/sync-scheduler.ts'
import { SimMachine } from '../harness/sim-machine.ts'

function flushable(order: string[], name: string, groups = 1) {
  const finish: (() => void)[] = []
  return {
    finish,
    flush: () =>
      new Promise<boolean>(resolve => {
        order.push(name)
        finish.push(() => resolve(--groups > 0))
      }),
  }
}

describe('the sync scheduler', () => {
  it('runs at most so many at a time, in order, and lets busy logs take turns', async () => {
    const machine = new SimMachine(1)
    const scheduler = new SyncScheduler({ clock: machine.clock, syncsInFlightMax: 2 })
    const order: string[] = []
    const logs = [flushable(order, 'a', 2), flushable(order, 'b'), flushable(order, 'c')]
    for (const log of logs) scheduler.request(log, { urgent: false })
    expect(order).toEqual([])
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['a', 'b'])
    logs[0]?.finish[0]?.()
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['a', 'b', 'c'])
    logs[1]?.finish[0]?.()
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['a', 'b', 'c', 'a'])
    logs[2]?.finish[0]?.()
    logs[0]?.finish[1]?.()
    await machine.scheduler.finish(scheduler.idle())
  })

  it('never flushes one log twice at a time, and remembers that it was asked again', async () => {
    const machine = new SimMachine(2)
    const scheduler = new SyncScheduler({ clock: machine.clock })
    const order: string[] = []
    const log = flushable(order, 'a')
    scheduler.request(log, { urgent: false })
    await machine.scheduler.runFor(1)
    scheduler.request(log, { urgent: false })
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['a'])
    log.finish[0]?.()
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['a', 'a'])
  })

  it('does not let urgent logs wait for others', async () => {
    const machine = new SimMachine(3)
    const scheduler = new SyncScheduler({ clock: machine.clock, syncsInFlightMax: 1 })
    const order: string[] = []
    scheduler.request(flushable(order, 'slow'), { urgent: false })
    scheduler.request(flushable(order, 'later'), { urgent: false })
    await machine.scheduler.runFor(1)
    scheduler.request(flushable(order, 'metadata'), { urgent: true })
    await machine.scheduler.runFor(1)
    expect(order).toEqual(['slow', 'metadata'])
  })
})
