import type { Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { didYouMean } from '../base/suggest.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { TopicView } from './topic-image.ts'
import { isInternalTopic, TOPIC_NAME_LENGTH_MAX } from './topic-name.ts'

/** A did-you-mean compares with every name: with more topics than this the answer does without. */
const SUGGESTION_TOPICS_MAX = 1_000

/**
 * The topic of this name; with an id, only if it is the same topic still. Throws UNKNOWN_TOPIC, with what was probably
 * meant if `maySuggest`: that takes longer than all the rest.
 */
export function requireTopic(
  image: MetadataImage,
  name: string,
  id?: Uuid | undefined,
  maySuggest: () => boolean = () => true,
): TopicView {
  const topic = image.topics.byName(name)
  if (topic === undefined) throw unknownTopic(image, name, maySuggest)
  if (id !== undefined && topic.id !== id)
    throw new NaruError(
      'UNKNOWN_TOPIC',
      `topic "${name}" with the id ${id.slice(0, 22)} does not exist: it was deleted, and made anew as ${topic.id} (look at the new one: naru topics describe ${name})`,
      { details: { topic: name, topic_id: topic.id } },
    )
  return topic
}

/** As `requireTopic`, for what users may change. */
export function requireUserTopic(image: MetadataImage, name: string, id?: Uuid): TopicView {
  if (isInternalTopic(name))
    throw new NaruError(
      'INVALID_REQUEST',
      `topic "${shorten(name)}" is kept by Naru itself and cannot be changed`,
    )
  return requireTopic(image, name, id)
}

function unknownTopic(image: MetadataImage, name: string, maySuggest: () => boolean): NaruError {
  if (name === '') return new NaruError('INVALID_REQUEST', 'topic is empty: name the topic')
  const shown = shorten(name)
  const isCheap = image.topics.count <= SUGGESTION_TOPICS_MAX && maySuggest()
  const near = isCheap ? didYouMean(name, image.topics.names()) : ''
  return new NaruError(
    'UNKNOWN_TOPIC',
    `topic "${shown}" does not exist${near} (create it: naru topics create ${shown})`,
    { details: { topic: shown } },
  )
}

function shorten(name: string): string {
  return name.length > TOPIC_NAME_LENGTH_MAX ? `${name.slice(0, TOPIC_NAME_LENGTH_MAX)}...` : name
}
