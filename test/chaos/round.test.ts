import { expect, it } from 'vitest'
import { mixtureNamed } from './mixtures.ts'
import { runRound } from './round.ts'

it('counts a cluster that cannot even be formed as a finding of its round', async () => {
  const tools = {
    directory: '/nowhere/at/all',
    hasNamespaces: false,
    cutPower: undefined,
    faultyDisk: undefined,
    delayPackets: undefined,
    fakeTime: undefined,
    leftOut: [],
    remove: () => {},
  }
  const { verdict, findings } = await runRound({
    tools,
    mixture: mixtureNamed('leaders'),
    seed: 1,
    durationMs: 1,
  })
  expect(verdict).toBeUndefined()
  expect(findings.join()).toMatch(/broke off: .*\/nowhere\/at\/all/)
})
