import { expect, it } from 'vitest'
import { MIXTURES, mixtureNamed } from './mixtures.ts'
import { faultsNamed } from './nemesis/all-faults.ts'

it('are fourteen, each with faults that there are, or a story', () => {
  expect(new Set(MIXTURES.map(one => one.name)).size).toBe(14)
  for (const { faults, story } of MIXTURES)
    expect(faultsNamed(faults).length + (story === undefined ? 0 : 1)).toBeGreaterThan(0)
})

it('are named in the message when one is not there', () => {
  expect(() => mixtureNamed('nothing')).toThrow(/leaders, crashes/)
})
