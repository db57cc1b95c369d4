import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { proofLines, proofPromises } from '../../../scripts/proof/proof-lines.ts'
import {
  type Fix,
  ProofState,
  type RoundPortion,
  type SeedPortion,
} from '../../../scripts/proof/proof-state.ts'
import { MIXTURES } from '../../chaos/mixtures.ts'

const HOUR_MS = 3_600_000
const GOALS = { seeds: 200, rounds: 1, leaderKills: 3 }

let directory = ''
let file = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'naru-proof-state-'))
  file = join(directory, 'state.jsonl')
})
afterEach(() => rmSync(directory, { recursive: true }))

it('is taken up where it was broken off', () => {
  const first = new ProofState(file)
  first.add(round('leaders', 1))
  first.add(seeds(1))
  appendFileSync(file, '{"kind":"round","name":"crashes/1","com')
  const second = new ProofState(file)
  expect(second.isDone('leaders/1')).toBe(true)
  expect(second.isDone('simulation/1')).toBe(true)
  expect(second.isDone('crashes/1')).toBe(false)
})

it('goes on after a line that was cut off', () => {
  new ProofState(file).add(round('leaders', 1))
  appendFileSync(file, '{"kind":"round","na')
  new ProofState(file).add(round('crashes', 1))
  const state = new ProofState(file)
  expect(state.portions.map(({ name }) => name)).toEqual(['leaders/1', 'crashes/1'])
})

it('adds up portions of several builds, and says what is still lacking', () => {
  const state = new ProofState(file)
  for (const { name } of MIXTURES.slice(1)) state.add(round(name, 1))
  state.add(seeds(1))
  const kept = () => proofPromises(state, GOALS).map(({ isKept }) => isKept)
  expect(kept()).toEqual([true, true, true, false, false, true])
  state.add({ ...round('leaders', 1, { kills: 3 }), commit: 'later' })
  expect(kept()).toEqual([true, true, true, true, true, true])
  const page = proofLines(state).join('\n')
  expect(page).toContain('| early |')
  expect(page).toContain('| later |')
})

it('runs again what found something, once that is mended, and still tells of it', () => {
  const state = new ProofState(file)
  state.add(round('power', 1, { findings: ['Sums.\n1 x lost-write: gone\nand more'] }))
  expect(proofPromises(state, GOALS)[1]).toMatchObject({ measured: '1', isKept: false })
  const fix: Fix = { kind: 'fix', name: 'power/1', how: 'by a sync', at: '' }
  state.add(fix)
  expect(state.isDone('power/1')).toBe(false)
  expect(proofLines(state).join('\n')).toContain('Not run again yet')
  state.add(round('power', 1))
  expect(proofPromises(state, GOALS)[1]).toMatchObject({ measured: '0', isKept: true })
  expect(proofLines(new ProofState(file)).join('\n')).toContain(
    'power/1 found: 1 x lost-write: gone Mended: by a sync. Run again since.',
  )
})

function round(
  mixture: string,
  seed: number,
  { kills = 0, findings = [] }: { kills?: number; findings?: string[] } = {},
): RoundPortion {
  const sends = { ok: 1, fail: 0, info: 0 }
  const line = { mixture, seed, nodeCount: 3, elapsedMs: HOUR_MS, sends, findings, leftOut: [] }
  return {
    kind: 'round',
    name: `${mixture}/${seed}`,
    ...FACTS,
    line: { ...line, faults: [['kill-leader', kills]], elections: 0, longestGapMs: 0 },
  }
}

function seeds(from: number): SeedPortion {
  const totals = { seeds: 200, simulatedMs: 1, events: 1, counts: [], failures: [] }
  return { kind: 'seeds', name: `simulation/${from}`, ...FACTS, totals }
}

const FACTS = {
  commit: 'early',
  at: '2026-01-01T00:00:00.000Z',
  usage: { elapsedMs: HOUR_MS, busyPercent: 50, stealPercent: 0 },
}
