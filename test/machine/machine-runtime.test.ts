import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvariantViolation } from '../../src/base/assert.ts'
import { NaruError } from '../../src/base/errors.ts'
import {
  MachineRuntime,
  type Outcome,
  TIMER_RETRY_MS,
  TIMERS_PER_TURN_MAX,
} from '../../src/machine/machine-runtime.ts'
import { SnapshotRegistry } from '../../src/machine/snapshot-registry.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import { TimelineMap } from '../../src/machine/timeline-map.ts'

describe('MachineRuntime, leading', () => {
  it('replays and appends at once, and answers at the commit', () => {
    const { runtime, log, counters, ask } = leader()
    const answer = ask(['a', 'a'], 'done')
    expect(counters.get('a')).toBe(2)
    expect(log).toEqual([['a', 'a']])
    expect(answer.outcome).toBeUndefined()
    runtime.onCommitted(1)
    expect(answer.outcome).toEqual({ ok: true, response: 'done' })
  })

  it('lets a read wait for the uncommitted writes it may have seen, and no longer', () => {
    const { runtime, ask } = leader()
    expect(ask([], 'nothing to wait for').outcome).toBeDefined()
    ask(['a'], 'write')
    const read = ask([], 'read')
    ask(['b'], 'later write')
    expect(read.outcome).toBeUndefined()
    runtime.onCommitted(1)
    expect(read.outcome).toEqual({ ok: true, response: 'read' })
  })

  it('holds back an error that rests on an uncommitted write, and drops it with that write', () => {
    const { runtime, ask, fail } = leader()
    ask(['a'], 'write')
    const refused = fail(new NaruError('TOPIC_ALREADY_EXISTS', 'it is there'))
    expect(refused.outcome).toBeUndefined()
    runtime.resign()
    expect(reasonOf(refused)).toBe('NOT_CONTROLLER')
  })

  it('answers in the order of the writes', () => {
    const { runtime, ask } = leader()
    const order: string[] = []
    for (const name of ['a', 'b', 'c']) ask([name], name, () => order.push(name))
    runtime.onCommitted(2)
    expect(order).toEqual(['a', 'b'])
    runtime.onCommitted(3)
    expect(order).toEqual(['a', 'b', 'c'])
  })

  it('takes a write from within an answer', () => {
    const { runtime, ask, counters } = leader()
    ask(['a'], 'first', () => ask(['b'], 'second'))
    runtime.onCommitted(1)
    expect(counters.get('b')).toBe(1)
    expect(runtime.pendingCount).toBe(1)
  })

  it('leaves no trace of a write that the log refuses', () => {
    const { runtime, log, counters, ask, refuseAppends } = leader()
    ask(['a'], 'kept')
    refuseAppends(true)
    const refused = ask(['a', 'b'], 'refused')
    expect(state(counters)).toEqual({ a: 1 })
    refuseAppends(false)
    ask(['c'], 'kept too')
    expect(log).toEqual([['a'], ['c']])
    runtime.onCommitted(2)
    expect(reasonOf(refused)).toBe('OVERLOADED')
  })

  it('appends nothing that it cannot replay', () => {
    const { log, counters, ask } = leader()
    expect(() => ask(['a', 'bad record'], 'never')).toThrow(InvariantViolation)
    expect(log).toEqual([])
    expect(state(counters)).toEqual({})
  })

  it('answers INTERNAL when a handler breaks, and goes on', () => {
    const { runtime, ask } = leader()
    let outcome: Outcome<string> | undefined
    runtime.write<string>(
      () => {
        throw new TypeError('undefined is not a function')
      },
      result => {
        outcome = result
      },
    )
    expect(outcome?.ok === false && outcome.error.reason).toBe('INTERNAL')
    expect(ask([], 'fine').outcome?.ok).toBe(true)
  })

  it('refuses more than pendingMax answers that wait', () => {
    const { ask } = leader({ pendingMax: 2 })
    ask(['a'], '1')
    ask(['b'], '2')
    expect(reasonOf(ask(['c'], '3'))).toBe('OVERLOADED')
  })
})

describe('MachineRuntime, changing roles', () => {
  it('refuses writes while it does not lead', () => {
    const { runtime, ask } = leader()
    runtime.resign()
    const answer = ask(['a'], 'never')
    expect(reasonOf(answer)).toBe('NOT_CONTROLLER')
    expect(answer.outcome?.ok === false && answer.outcome.error.outcome).toBe('none')
  })

  it('rolls back what is not committed, and says of appended records that their outcome is unknown', () => {
    const { runtime, counters, ask } = leader()
    ask(['a'], 'committed')
    const write = ask(['a', 'b'], 'not committed')
    const read = ask([], 'read')
    runtime.onCommitted(1)
    runtime.resign()
    expect(state(counters)).toEqual({ a: 1 })
    expect(runtime.endIndex).toBe(1)
    expect(write.outcome?.ok === false && write.outcome.error.outcome).toBe('unknown')
    expect(read.outcome?.ok === false && read.outcome.error.outcome).toBe('none')
  })

  it('takes the records of its own lost leadership from the next leader, once', () => {
    const { runtime, counters, ask } = leader()
    ask(['a'], 'survives')
    runtime.resign()
    runtime.load({ records: ['a'], endIndex: 1 })
    runtime.load({ records: ['b'], endIndex: 2 })
    runtime.onCommitted(2)
    expect(state(counters)).toEqual({ a: 1, b: 1 })
  })

  it('passes over committed records that its own write has applied', () => {
    const { runtime, counters, ask } = leader()
    const answer = ask(['a'], 'done')
    runtime.load({ records: ['a'], endIndex: 1 })
    runtime.onCommitted(1)
    expect(state(counters)).toEqual({ a: 1 })
    expect(answer.outcome?.ok).toBe(true)
  })

  it('moves past entries of the log that hold no records', () => {
    const { runtime, counters, log, ask } = leader()
    ask(['a'], 'first')
    log.push([])
    ask(['b'], 'second')
    runtime.load({ records: [], endIndex: 2 })
    runtime.onCommitted(2)
    runtime.resign()
    expect(state(counters)).toEqual({ a: 1 })
    expect(runtime.endIndex).toBe(2)
  })

  it('answers nothing that rests on a loaded log before it is committed', () => {
    const { runtime, ask } = standby()
    runtime.load({ records: ['a'], endIndex: 1 })
    runtime.lead()
    const read = ask([], 'read')
    expect(read.outcome).toBeUndefined()
    runtime.onCommitted(1)
    expect(read.outcome?.ok).toBe(true)
  })

  it('takes committed parts of a log as loaded and committed, whatever it held before', () => {
    const { runtime, counters, ask } = leader()
    const answer = ask(['a'], 'own')
    runtime.loadCommitted({ records: ['a'], endIndex: 1 })
    expect(answer.outcome?.ok).toBe(true)
    runtime.resign()
    runtime.loadCommitted({ records: ['b'], endIndex: 2 })
    runtime.load({ records: ['c'], endIndex: 3 })
    runtime.loadCommitted({ records: ['d'], endIndex: 4 })
    runtime.load({ records: ['e'], endIndex: 5 })
    expect(state(counters)).toEqual({ a: 1, b: 1, c: 1, d: 1, e: 1 })
    runtime.resign()
    expect(runtime.endIndex).toBe(4)
    expect(state(counters)).toEqual({ a: 1, b: 1, c: 1, d: 1 })
  })

  it('replaces its state by a snapshot', () => {
    const { runtime, counters } = standby()
    runtime.load({ records: ['a', 'b'], endIndex: 2 })
    runtime.restore({ records: ['c', 'c'], endIndex: 40 })
    expect(state(counters)).toEqual({ c: 2 })
    runtime.load({ records: ['d'], endIndex: 41 })
    runtime.resign()
    expect(state(counters)).toEqual({ c: 2 })
  })

  it('refuses records of another leader while it leads, and a commit of what it does not hold', () => {
    const { runtime } = leader()
    expect(() => runtime.load({ records: ['a'], endIndex: 1 })).toThrow('by another hand')
    expect(() => runtime.onCommitted(1)).toThrow('beyond the loaded 0')
  })

  it('holds, at every moment, the state of a twin that replays the log from the start', () => {
    const step = fc.tuple(fc.constantFrom('write', 'write', 'write', 'commit', 'resign', 'lead'), fc.nat(4))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const { runtime, counters, log, ask } = leader()
        let committed = 0
        for (const [kind, number] of steps) {
          if (kind === 'write') ask(Array(number).fill(`k${number}`), 'any')
          else if (kind === 'commit') {
            committed = Math.min(log.length, committed + number)
            runtime.onCommitted(committed)
          } else if (kind === 'lead') {
            runtime.resign()
            log.length = committed
            runtime.lead()
          } else {
            runtime.resign()
            log.length = committed
          }
          const twin: Record<string, number> = {}
          for (const record of log.flat()) twin[record] = (twin[record] ?? 0) + 1
          expect(state(counters)).toEqual(twin)
          expect(runtime.endIndex).toBe(log.length)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('MachineRuntime timers', () => {
  it('run their handler at the deadline; its records are written like any others', () => {
    const { runtime, counters, log } = leader()
    runtime.schedule('expire', { deadlineMs: 50, handler: nowMs => result([`at ${nowMs}`]) })
    runtime.onTime(49)
    expect(log).toEqual([])
    expect(runtime.nextDeadlineMs).toBe(50)
    runtime.onTime(51)
    expect(state(counters)).toEqual({ 'at 51': 1 })
    expect(runtime.nextDeadlineMs).toBeUndefined()
  })

  it('are moved by setting them again, and dropped with the lead', () => {
    const { runtime, log } = leader()
    for (const deadlineMs of [10, 30])
      runtime.schedule('moved', { deadlineMs, handler: () => result(['moved']) })
    runtime.onTime(20)
    expect(log).toEqual([])
    runtime.resign()
    runtime.lead()
    runtime.onTime(40)
    expect(log).toEqual([])
  })

  it('stay due while the log refuses for a moment, and report any failure', () => {
    const { runtime, log, refuseAppends, timerFailures } = leader()
    runtime.schedule('a', { deadlineMs: 10, handler: () => result(['a']) })
    refuseAppends(true)
    runtime.onTime(10)
    refuseAppends(false)
    runtime.onTime(10 + TIMER_RETRY_MS)
    expect(log).toEqual([['a']])
    runtime.schedule('b', {
      deadlineMs: 10,
      handler: () => {
        throw new NaruError('INVALID_REQUEST', 'for good')
      },
    })
    runtime.onTime(1000)
    expect(runtime.nextDeadlineMs).toBeUndefined()
    expect(timerFailures).toEqual(['a OVERLOADED', 'b INVALID_REQUEST'])
  })

  it('run a bounded number in one turn and leave the rest due', () => {
    const { runtime, log } = leader()
    for (let i = 0; i <= TIMERS_PER_TURN_MAX; i++)
      runtime.schedule(`k${i}`, { deadlineMs: i, handler: () => result([`k${i}`]) })
    runtime.onTime(10_000)
    expect(log.length).toBe(TIMERS_PER_TURN_MAX)
    expect(runtime.nextDeadlineMs).toBe(TIMERS_PER_TURN_MAX)
  })
})

/** Counts how often each record came. */
class CountingMachine implements StateMachine<string> {
  readonly counters: TimelineMap<string, number>

  constructor(registry: SnapshotRegistry) {
    this.counters = new TimelineMap(registry)
  }

  replay(record: string): void {
    if (record === 'bad record') throw new InvariantViolation('cannot replay')
    this.counters.set(record, (this.counters.get(record) ?? 0) + 1)
  }

  clear(): void {
    this.counters.clear()
  }
}

interface Answer {
  outcome: Outcome<string> | undefined
}

function standby(options: { pendingMax?: number } = {}) {
  const registry = new SnapshotRegistry()
  const machine = new CountingMachine(registry)
  /** One entry per write: the index of an entry is its place. */
  const log: (readonly string[])[] = []
  const timerFailures: string[] = []
  let isRefusing = false
  const runtime = new MachineRuntime<string>({
    machine,
    registry,
    pendingMax: options.pendingMax ?? 100,
    append: records => {
      if (isRefusing) throw new NaruError('OVERLOADED', 'the log is full')
      return log.push(records)
    },
    lostLeadership: outcome => new NaruError('NOT_CONTROLLER', 'the controller moved', { outcome }),
    onTimerFailed: (key, error) => timerFailures.push(`${key} ${error.reason}`),
  })
  const ask = (records: readonly string[], response: string, onDone?: () => void): Answer => {
    const answer: Answer = { outcome: undefined }
    runtime.write(
      () => ({ records, response }),
      outcome => {
        expect(answer.outcome).toBeUndefined()
        answer.outcome = outcome
        onDone?.()
      },
    )
    return answer
  }
  const fail = (error: NaruError): Answer => {
    const answer: Answer = { outcome: undefined }
    const handler = () => {
      throw error
    }
    runtime.write<string>(handler, outcome => {
      answer.outcome = outcome
    })
    return answer
  }
  const refuseAppends = (refuse: boolean) => {
    isRefusing = refuse
  }
  return { runtime, log, counters: machine.counters, ask, fail, refuseAppends, timerFailures }
}

function leader(options: { pendingMax?: number } = {}) {
  const context = standby(options)
  context.runtime.lead()
  return context
}

function result(records: readonly string[]) {
  return { records, response: undefined }
}

function reasonOf(answer: Answer): string | undefined {
  return answer.outcome?.ok === false ? answer.outcome.error.reason : undefined
}

function state(counters: TimelineMap<string, number>): Record<string, number> {
  return Object.fromEntries(counters.entries())
}
