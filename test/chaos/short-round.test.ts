import { expect, it } from 'vitest'
import { prepareTools } from './machine/machine-tools.ts'
import type { Mixture } from './mixtures.ts'
import { runRound } from './round.ts'

/** Each of them once; `npm run chaos` has the others. */
const SHORT: Mixture = {
  name: 'short',
  nodeCount: 3,
  faults: ['kill-leader', 'kill-controller', 'isolate-one', 'power-cut-all'],
  togetherMax: 1,
}
const ROUND_TIMEOUT_MS = 600_000

it.each([
  { how: 'as this user', withoutRoot: false },
  { how: 'without root', withoutRoot: true },
])(
  'keeps what is promised when leaders are killed, a node is cut off and the power fails: $how',
  async ({ withoutRoot }) => {
    const tools = await prepareTools({ withoutRoot })
    try {
      const { findings, faults, verdict } = await runRound({ tools, mixture: SHORT, seed: 1, durationMs: 1 })
      expect(findings.join('\n')).toBe('')
      expect(verdict?.validity).toBe('valid')
      expect(verdict?.sends.ok).toBeGreaterThan(100)
      const struck = SHORT.faults.filter(one => tools.cutPower !== undefined || one !== 'power-cut-all')
      const byNemesis = [...faults.keys()].filter(name => !name.startsWith('member: '))
      expect(byNemesis.sort()).toEqual(struck.sort())
      expect(faults.size).toBeGreaterThan(struck.length)
      for (const what of tools.leftOut) console.log(`left out: ${what}`)
    } finally {
      tools.remove()
    }
  },
  ROUND_TIMEOUT_MS,
)
