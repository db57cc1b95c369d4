import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { GroupRecord } from '../../src/groups/group-record.ts'
import { GroupsImage } from '../../src/groups/groups-image.ts'
import { matchesPattern } from '../../src/groups/subscription.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { thinned } from './group-context.ts'
import { recordsOf } from './group-records.ts'
import { GroupSimulation } from './group-simulation.ts'

function imageOf(records: Iterable<GroupRecord>): GroupRecord[] {
  const image = new GroupsImage()
  for (const record of records) image.replay(record)
  return recordsOf(image)
}

it('comes out the same of any thinned-out log, tombstones there or gone', () => {
  for (let seed = 0; seed < 20; seed++) {
    const simulation = new GroupSimulation({ seed })
    simulation.run()
    const log = simulation.records()
    const whole = imageOf(log)
    const prng = new SeededPrng(`thin ${seed}`)
    for (const share of [1, 2, 5, 1_000_000])
      expect(imageOf(thinned(log, () => prng.uint32() % share === 0))).toEqual(whole)
    expect(imageOf(whole)).toEqual(whole)
  }
})

it('goes back to what it was', () => {
  for (let seed = 0; seed < 20; seed++) {
    const simulation = new GroupSimulation({ seed })
    simulation.run()
    const log = simulation.records()
    const image = new GroupsImage()
    const half = Math.floor(log.length / 2)
    for (const record of log.slice(0, half)) image.replay(record)
    const before = recordsOf(image)
    image.registry.take(half)
    for (const record of log.slice(half)) image.replay(record)
    image.registry.revertTo(half)
    image.registry.forgetAll()
    expect(recordsOf(image)).toEqual(before)
    for (const record of log.slice(half)) image.replay(record)
    expect(recordsOf(image)).toEqual(imageOf(log))
  }
})

it('refuses a record of a newer release', () => {
  const record = { type: 'group', version: 1, group: 'g', value: null } as unknown as GroupRecord
  expect(() => new GroupsImage().replay(record)).toThrow('version 1; this release knows up to 0')
})

it('patterns match as the regular expressions that they stand for', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', '.', '*', '?'), { maxLength: 8 })
  fc.assert(
    fc.property(letters, fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 8 }), (pattern, name) => {
      const source = pattern
        .map(letter => (letter === '*' ? '.*' : letter === '?' ? '.' : `[${letter}]`))
        .join('')
      expect(matchesPattern(pattern.join(''), name.join(''))).toBe(
        new RegExp(`^${source}$`).test(name.join('')),
      )
    }),
    { numRuns: 2000 },
  )
})
