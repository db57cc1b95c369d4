import { NaruError } from '../base/errors.ts'
import { memberFenced, unknownGroup, unknownMember } from './group-errors.ts'
import type { GroupImage } from './group-image.ts'
import type { GroupLimits } from './group-options.ts'
import type { AssignorName, MemberInfo, Subscription } from './group-record.ts'
import type { MemberStream } from './group-result.ts'
import type { GroupsImage } from './groups-image.ts'

/** What handlers ask of names and of the state before they plan anything. */

/** Of a group, a member, a client or an instance. */
export function checkName(what: string, name: string, { nameLengthMax }: GroupLimits): void {
  const problem =
    name === ''
      ? 'is empty'
      : name.length > nameLengthMax
        ? `has ${name.length} characters, at most ${nameLengthMax} are allowed`
        : CONTROL_CHARACTER.test(name)
          ? 'holds a control character'
          : undefined
  if (problem !== undefined)
    throw new NaruError(
      'INVALID_REQUEST',
      `the name ${JSON.stringify(name.slice(0, SHOWN_MAX))} of a ${what} ${problem} (choose another one)`,
    )
}

export function checkSubscription({ topics, topicPattern }: Subscription, limits: GroupLimits): void {
  const { topicsPerSubscriptionMax } = limits
  if (topics.length === 0 && topicPattern === null)
    throw new NaruError('INVALID_REQUEST', 'a member subscribes to nothing: name topics, or a topic_pattern')
  if (topics.length > topicsPerSubscriptionMax)
    throw new NaruError(
      'INVALID_REQUEST',
      `${topics.length} topics are too many for a member, at most ${topicsPerSubscriptionMax} are allowed (use a topic_pattern)`,
    )
  const bad = topics.find(name => !TOPIC_NAME.test(name))
  if (bad !== undefined)
    throw new NaruError(
      'INVALID_TOPIC_NAME',
      `${JSON.stringify(bad.slice(0, SHOWN_MAX))} cannot be the name of a topic: 1-249 characters of a-z A-Z 0-9 . _ - (a topic_pattern may hold * and ?)`,
    )
  if (topicPattern !== null && !TOPIC_PATTERN.test(topicPattern))
    throw new NaruError(
      'INVALID_REQUEST',
      `topic_pattern ${JSON.stringify(topicPattern.slice(0, SHOWN_MAX))} is not 1-249 characters of a-z A-Z 0-9 . _ - * ?`,
    )
}

export function assignorNamed(name: string): AssignorName {
  if (name === 'uniform' || name === 'range') return name
  throw new NaruError(
    'INVALID_REQUEST',
    `assignor ${JSON.stringify(name.slice(0, SHOWN_MAX))} does not exist (use uniform or range)`,
  )
}

export function requireGroup(image: GroupsImage, name: string): GroupImage {
  const group = image.get(name)
  if (group === undefined) throw unknownGroup(name)
  return group
}

/** The member for which this stream speaks. Throws UNKNOWN_MEMBER if it is gone, MEMBER_FENCED for an older stream. */
export function requireMember(
  image: GroupsImage,
  stream: MemberStream,
): { readonly group: GroupImage; readonly info: MemberInfo } {
  const group = image.get(stream.group)
  const info = group?.members.get(stream.member)
  if (group === undefined || info === undefined) throw unknownMember(stream.group, stream.member)
  if (info.attachEpoch !== stream.attachEpoch) throw memberFenced(stream)
  return { group, info }
}

const TOPIC_NAME = /^[a-zA-Z0-9._-]{1,249}$/
const TOPIC_PATTERN = /^[a-zA-Z0-9._*?-]{1,249}$/
const CONTROL_CHARACTER = /\p{Cc}/u
const SHOWN_MAX = 60
