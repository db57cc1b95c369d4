import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { MIXTURES } from '../mixtures.ts'
import { CHAOS_MUTANTS } from './chaos-mutants.ts'

it.each(CHAOS_MUTANTS)('finds each passage of "$name" once in the sources', ({ edits, mixture }) => {
  expect(MIXTURES.map(one => one.name)).toContain(mixture)
  for (const [file, passage, replacement] of edits) {
    const code = readFileSync(new URL(`../../../src/${file}`, import.meta.url), 'utf8')
    expect(code.split(passage)).toHaveLength(2)
    expect(replacement).not.toBe(passage)
  }
})
