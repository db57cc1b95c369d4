import { describe, expect, it } from 'vitest'
import { type Sample, summarise } from '../../../scripts/bench/samples.ts'
import { judgeTargets } from '../../../scripts/bench/targets.ts'

function sample(fields: Partial<Sample>): Sample {
  return {
    what: 'produce',
    system: 'naru',
    variant: '100 B',
    unit: 'records/s',
    value: 0,
    repeat: 0,
    stealPercent: 0,
    ...fields,
  }
}

function series(values: readonly number[], stealPercents: readonly number[], fields: Partial<Sample> = {}) {
  return values.map((value, repeat) =>
    sample({ ...fields, value, repeat, stealPercent: stealPercents[repeat] ?? 0 }),
  )
}

describe('the summary of a series', () => {
  it('is the median of the windows that nobody disturbed', () => {
    const [summary] = summarise(series([500, 90, 400, 100, 300], [0, 10, 9.9, 60, 2]))
    expect(summary).toMatchObject({
      median: 400,
      min: 300,
      max: 500,
      counted: 3,
      windows: 5,
      isDisturbed: false,
    })
    expect(summary).toMatchObject({ stealPercentMin: 0, stealPercentMax: 9.9 })
  })

  it('is that of all windows, and says so, where none was undisturbed', () => {
    const [summary] = summarise(series([1, 4], [10, 80]))
    expect(summary).toMatchObject({ median: 2.5, counted: 2, windows: 2, isDisturbed: true })
  })

  it('keeps series of other sizes, systems and units apart', () => {
    const samples = [
      sample({ value: 1 }),
      sample({ variant: '1 KB', value: 2 }),
      sample({ system: 'kafka default', value: 3 }),
      sample({ unit: 'ms', value: 4 }),
    ]
    expect(summarise(samples).map(one => one.median)).toEqual([1, 2, 3, 4])
  })
})

describe('the targets', () => {
  const judge = (samples: readonly Sample[]) =>
    judgeTargets(summarise(samples)).map(({ measured, isMet }) => [measured, isMet])

  it("hold producing against the better of Kafka's modes", () => {
    const samples = [
      sample({ value: 390 }),
      sample({ system: 'kafka default', value: 200 }),
      sample({ system: 'kafka batched', value: 150 }),
    ]
    expect(judge(samples)).toEqual([['1.95x', false]])
    expect(judge([...samples.slice(1), sample({ value: 400 })])).toEqual([['2.00x', true]])
  })

  it('hold consuming against Kafka with and without its join', () => {
    const consume = { what: 'consume' }
    const samples = [
      sample({ ...consume, value: 300 }),
      sample({ ...consume, system: 'kafka with join', value: 101 }),
      sample({ ...consume, system: 'kafka without join', value: 300 }),
    ]
    expect(judge(samples)).toEqual([
      ['2.97x', false],
      ['1.00x', true],
    ])
  })

  it('hold memory against a third of its', () => {
    const memory = { what: 'memory peak', variant: '', unit: 'MB' as const }
    const samples = [sample({ ...memory, value: 100 }), sample({ ...memory, system: 'kafka', value: 300 })]
    expect(judge(samples)).toEqual([['0.33x', true]])
  })

  it('say nothing of what was not measured in the same run', () => {
    expect(judge([sample({ value: 390 }), sample({ what: 'consume', value: 1 })])).toEqual([])
  })
})
