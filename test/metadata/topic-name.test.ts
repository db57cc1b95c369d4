import { describe, expect, it } from 'vitest'
import { checkTopicName, topicCollisionKey } from '../../src/metadata/topic-name.ts'
import { errorOf } from './metadata-context.ts'

describe('topic names', () => {
  it.each(['a', 'Logs', 'a.b-c_d', '0', '_x', '...', 'n'.repeat(249)])('may be %.20s', name => {
    expect(errorOf(() => checkTopicName(name))).toBe('no error')
  })

  it.each([
    ['', 'it is empty'],
    ['.', '"." and ".." are directories'],
    ['..', '"." and ".." are directories'],
    ['n'.repeat(250), 'it has 250 characters, at most 249 are allowed'],
    ['a b', 'only a-z A-Z 0-9 . _ - are allowed'],
    ['a\n', 'only a-z A-Z 0-9 . _ - are allowed'],
    ['../x', 'only a-z A-Z 0-9 . _ - are allowed'],
    ['é', 'only a-z A-Z 0-9 . _ - are allowed'],
    ['__groups', 'names that begin with "__" are for internal topics'],
  ])('may not be %.20j', (name, problem) => {
    expect(errorOf(() => checkTopicName(name))).toMatch(
      new RegExp(`^INVALID_TOPIC_NAME: .*: ${escaped(problem)}$`),
    )
  })

  it('collide when they differ only by . and _', () => {
    expect(topicCollisionKey('a.b_c')).toBe(topicCollisionKey('a_b.c'))
    expect(topicCollisionKey('a-b')).not.toBe(topicCollisionKey('a_b'))
  })
})

function escaped(text: string): string {
  return text.replaceAll(/[.]/g, '\\.')
}
