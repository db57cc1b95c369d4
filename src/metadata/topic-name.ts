import { NaruError } from '../base/errors.ts'

/** Kafka's limit: the name and a partition number must fit into the name of a directory (255 bytes). */
export const TOPIC_NAME_LENGTH_MAX = 249

/** Throws INVALID_TOPIC_NAME unless users may call a topic so. */
export function checkTopicName(name: string): void {
  const problem = topicNameProblem(name)
  if (problem === undefined) return
  // A name that breaks the rules may also be megabytes long or hold control characters.
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}...` : name)
  throw new NaruError('INVALID_TOPIC_NAME', `${shown} cannot be the name of a topic: ${problem}`)
}

/** Topics that Naru itself keeps. Only it creates and changes them. */
export function isInternalTopic(name: string): boolean {
  return name.startsWith('__')
}

/**
 * Names with the same key differ only by `.` and `_`. Metrics systems turn one into the other, so their series
 * would be mixed up; as in Kafka only one of them may exist.
 */
export function topicCollisionKey(name: string): string {
  return name.replaceAll('.', '_')
}

function topicNameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty'
  if (name === '.' || name === '..') return '"." and ".." are directories'
  if (name.length > TOPIC_NAME_LENGTH_MAX)
    return `it has ${name.length} characters, at most ${TOPIC_NAME_LENGTH_MAX} are allowed`
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) return 'only a-z A-Z 0-9 . _ - are allowed'
  if (isInternalTopic(name)) return 'names that begin with "__" are for internal topics'
  return undefined
}
