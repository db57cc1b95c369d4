import type { MessageInit, Position } from '../../wire/messages.ts'
import { callback, checkOptions, type OptionRule, oneOf, wholeNumber, yesOrNo } from '../option-check.ts'
import {
  CREDIT_BYTES_DEFAULT,
  creditBytes,
  isStart,
  START_WANTED,
  wireStart,
} from '../reader/reader-settings.ts'
import type { ConsumerOptions } from './types.ts'

/** What a member says when it joins, in the words of the wire. */
export interface MemberSettings {
  readonly group: string
  readonly topics: readonly string[]
  readonly topicPattern: string | undefined
  readonly member: string | undefined
  readonly start: MessageInit<Position>
  readonly assignor: string | undefined
  readonly sessionTimeoutMs: number | undefined
  readonly clientId: string
}

export interface ConsumerSettings extends MemberSettings {
  readonly autoCommit: boolean
  readonly commitIntervalMs: number
  readonly creditBytesMax: number
}

export function consumerSettings(options: ConsumerOptions): ConsumerSettings {
  checkOptions('consumer', options, CONSUMER_OPTIONS)
  const wrongGroup = name(options.group)
  if (wrongGroup) throw new TypeError(`consumer: the option group must be ${wrongGroup}`)
  const { topics = [], topicPattern } = options
  if (topics.length === 0 && topicPattern === undefined)
    throw new TypeError("consumer: give topics: ['name', ...], or a topicPattern")
  return {
    group: options.group,
    topics,
    topicPattern,
    member: options.member,
    start: wireStart(options.start ?? 'earliest'),
    assignor: options.assignor,
    sessionTimeoutMs: options.sessionTimeoutMs,
    clientId: options.clientId ?? '',
    autoCommit: options.autoCommit ?? true,
    commitIntervalMs: options.commitIntervalMs ?? 1_000,
    creditBytesMax: options.creditBytesMax ?? CREDIT_BYTES_DEFAULT,
  }
}

const CONSUMER_OPTIONS = {
  group: name,
  topics: topicList,
  topicPattern: name,
  member: name,
  start: value => (isStart(value) ? undefined : START_WANTED),
  assignor: oneOf(['uniform', 'range']),
  sessionTimeoutMs: wholeNumber({ min: 1_000, max: 1_800_000 }),
  autoCommit: yesOrNo,
  commitIntervalMs: wholeNumber({ min: 1, max: 3_600_000 }),
  creditBytesMax: creditBytes,
  clientId: name,
  onAssigned: callback,
  onRevoked: callback,
  onLost: callback,
  onSkipped: callback,
  onWarning: callback,
} satisfies Record<keyof ConsumerOptions, OptionRule>

function name(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? undefined : 'a name'
}

function topicList(value: unknown): string | undefined {
  const isList = Array.isArray(value) && value.every(one => name(one) === undefined)
  return isList ? undefined : 'an array of names of topics'
}
