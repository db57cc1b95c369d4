import { describe, expect, it } from 'vitest'
import { didYouMean, suggest } from '../../src/base/suggest.ts'

const KEYS = ['retention.ms', 'retention.bytes', 'segment.ms', 'cleanup.policy', 'acks']

describe('suggest', () => {
  it.each([
    ['retention.m', 'retention.ms'],
    ['retetnion.ms', 'retention.ms'],
    ['Cleanup.Policy', 'cleanup.policy'],
    ['cleanup_policy', 'cleanup.policy'],
    ['ack', 'acks'],
    ['asck', 'acks'],
    ['segmentms', 'segment.ms'],
  ])('takes %s for %s', (typed, meant) => {
    expect(suggest(typed, KEYS)).toBe(meant)
  })

  it.each(['compression', 'x', '', 'zzzz', 'r'.repeat(5_000_000)])('has nothing near %.20s', typed => {
    expect(suggest(typed, KEYS)).toBeUndefined()
  })

  it('gives up among many long names, whatever comes after them', () => {
    const typed = 'b-lnog-name-'.repeat(10)
    const names = Array.from({ length: 1000 }, (_, index) => `${'a-long-name-'.repeat(10)}${index}`)
    expect(suggest(typed, [`${typed}x`, ...names])).toBe(`${typed}x`)
    expect(suggest(typed, [...names, `${typed}x`])).not.toBe(`${typed}x`)
  })

  it('ends a message', () => {
    expect(didYouMean('retention.m', KEYS)).toBe(' (did you mean "retention.ms"?)')
    expect(didYouMean('nothing like it', KEYS)).toBe('')
  })
})
