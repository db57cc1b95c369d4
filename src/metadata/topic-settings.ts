import { NaruError } from '../base/errors.ts'
import { didYouMean } from '../base/suggest.ts'
import type { SettingOverrides } from './metadata-record.ts'

/**
 * The settings of topics: one table, from which types, checks and docs come. Names and meanings are Kafka's
 * (`write.caching` is Redpanda's). A topic holds only what was set for it; the rest follows the defaults of the
 * node, then those of this table.
 */
export const TOPIC_SETTINGS = {
  'cleanup.policy': policies({
    default: 'delete',
    values: ['delete', 'compact'],
    doc: 'What becomes of old records: `delete` removes segments by age and size, `compact` keeps the newest record of each key, and `compact,delete` does both. Records of a compacted topic need keys; one without a value (a tombstone) deletes its key.',
  }),
  'delete.retention.ms': number({
    default: 24 * 3600 * 1000,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    doc: 'How long compaction keeps a tombstone after it has removed what the tombstone deletes: who reads from the start has this long to reach it.',
  }),
  'min.cleanable.dirty.ratio': fraction({
    default: 0.5,
    doc: 'Compaction of a partition begins when this share of its closed segments was not compacted before. Less means more frequent rewriting, and less space for records that are obsolete.',
  }),
  'min.compaction.lag.ms': number({
    default: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    doc: 'Compaction leaves segments alone whose newest record is younger than this.',
  }),
  'retention.ms': number({
    default: 7 * 24 * 3600 * 1000,
    min: -1,
    max: Number.MAX_SAFE_INTEGER,
    doc: 'Segments whose newest record is older than this are removed. -1: never by age.',
  }),
  'retention.bytes': number({
    default: -1,
    min: -1,
    max: Number.MAX_SAFE_INTEGER,
    doc: 'The oldest segments of a partition are removed while the others together hold this much. -1: never by size.',
  }),
  'segment.bytes': number({
    default: 256 * 1024 * 1024,
    // Smaller segments are mostly names, indexes and syncs of directories (Kafka's limit since KIP-1030).
    min: 1024 * 1024,
    // Positions in an index have 4 bytes, and Kafka's tools read them as signed.
    max: 2 ** 31 - 1,
    doc: 'A new segment begins when the next batch would make this one larger. Retention removes whole segments.',
  }),
  'segment.ms': number({
    default: 7 * 24 * 3600 * 1000,
    min: 1000,
    max: Number.MAX_SAFE_INTEGER,
    doc: 'A new segment begins, with the next batch, when the first record of this one is older than this.',
  }),
  'index.interval.bytes': number({
    default: 4096,
    min: 256,
    max: 2 ** 31 - 1,
    doc: 'Bytes of records between two entries of the offset index.',
  }),
  'max.message.bytes': number({
    default: 1024 * 1024,
    min: 1024,
    // A sync group, and so a torn tail, is at most this long (rule B2).
    max: 8 * 1024 * 1024,
    doc: 'The largest batch of records that is taken, as it is sent: after compression, with its header.',
  }),
  'min.insync.replicas': number({
    default: 2,
    min: 1,
    max: 100,
    doc: 'Writes with acks=all are refused while fewer replicas are in sync. Default 1 for topics with fewer than 3 replicas.',
  }),
  'compression.type': choice({
    default: 'producer',
    values: ['producer'],
    later: Object.fromEntries(
      ['none', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'].map(codec => [
        codec,
        'nodes store batches as the producer compressed them; set the compression of the producer instead',
      ]),
    ),
    doc: 'Batches are stored as the producer compressed them (`producer`).',
  }),
  'message.timestamp.type': choice({
    default: 'CreateTime',
    values: ['CreateTime', 'LogAppendTime'],
    doc: 'Whether the timestamp of a record is the one of the producer or the time at which the leader appended it.',
  }),
  'message.timestamp.after.max.ms': number({
    default: 3600 * 1000,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    doc: "How far a producer's timestamp may lie ahead of the leader's clock. A record from a far future would never be removed by age.",
  }),
  'write.caching': flag({
    default: false,
    doc: 'Acknowledge once the in-sync replicas hold a write in memory, before it is synced to their disks. A power cut of all of them can lose acknowledged records.',
  }),
  'unclean.leader.election.enable': flag({
    default: false,
    doc: 'When no in-sync replica is left, let another one lead. Loses the acknowledged records that it lacks.',
  }),
} as const satisfies Record<string, SettingRow<string | number | boolean>>

export type TopicSettingKey = keyof typeof TOPIC_SETTINGS

/** Every setting with its value as it holds for one topic. */
export type TopicSettings = {
  readonly [K in TopicSettingKey]: (typeof TOPIC_SETTINGS)[K] extends SettingRow<infer V> ? V : never
}

export interface SettingRow<V> {
  readonly type: 'number' | 'boolean' | 'choice'
  readonly default: V
  readonly min?: number
  readonly max?: number
  readonly values?: readonly string[]
  readonly doc: string
  /** The value of a text that users write; throws a SettingProblem. */
  readonly parse: (text: string) => V
}

export const TOPIC_SETTING_KEYS = Object.keys(TOPIC_SETTINGS) as readonly TopicSettingKey[]

function isTopicSetting(key: string): key is TopicSettingKey {
  return Object.hasOwn(TOPIC_SETTINGS, key)
}

/** Throws UNKNOWN_SETTING, with the key that was probably meant. */
export function checkSettingKey(key: string): asserts key is TopicSettingKey {
  if (isTopicSetting(key)) return
  const shown = key.length > 100 ? `${key.slice(0, 100)}...` : key
  throw new NaruError(
    'UNKNOWN_SETTING',
    `topics have no setting ${JSON.stringify(shown)}${didYouMean(key, TOPIC_SETTING_KEYS)}`,
    { details: { setting: shown } },
  )
}

/** The text of a value in its one written form (`" 07 "` is `7`). Throws UNKNOWN_SETTING, INVALID_SETTING, NOT_IMPLEMENTED. */
export function normalizeSetting(key: string, text: string): string {
  checkSettingKey(key)
  return String(parseSetting(key, text))
}

/** The settings as they hold for a topic: its overrides, else the node's defaults, else the table's. */
export function resolveTopicSettings(
  overrides: SettingOverrides,
  context: { replicationFactor: number; defaults?: Partial<TopicSettings> },
): TopicSettings {
  const resolved: Record<string, string | number | boolean> = {}
  for (const key of TOPIC_SETTING_KEYS) {
    const override = Object.hasOwn(overrides, key) ? overrides[key] : undefined
    resolved[key] = override === undefined ? defaultSetting(key, context) : parseSetting(key, override)
  }
  return Object.freeze(resolved) as TopicSettings
}

/** The value that a setting has in a topic of so many replicas which does not override it. */
export function defaultSetting(
  key: TopicSettingKey,
  context: { replicationFactor: number; defaults?: Partial<TopicSettings> },
): string | number | boolean {
  const { replicationFactor, defaults } = context
  if (key !== 'min.insync.replicas') return defaults?.[key] ?? TOPIC_SETTINGS[key].default
  // A default never makes a topic unwritable. Of one or two copies, every one is needed to stay writable.
  const configured = defaults?.[key]
  if (configured !== undefined) return Math.min(configured, replicationFactor)
  return replicationFactor < 3 ? 1 : TOPIC_SETTINGS[key].default
}

/** Checks that concern two settings, or a setting and the topic. Throws INVALID_SETTING. */
export function checkTopicSettings(settings: TopicSettings, replicationFactor: number): void {
  const maxMessageBytes = settings['max.message.bytes']
  if (maxMessageBytes > settings['segment.bytes'])
    throw invalid(
      'max.message.bytes',
      `a batch of max.message.bytes=${maxMessageBytes} would not fit into a segment of segment.bytes=${settings['segment.bytes']}`,
    )
  const minInsyncReplicas = settings['min.insync.replicas']
  if (minInsyncReplicas > replicationFactor)
    throw invalid(
      'min.insync.replicas',
      `min.insync.replicas=${minInsyncReplicas} is more than the ${replicationFactor} ${replicationFactor === 1 ? 'replica' : 'replicas'} of the topic, so nothing could be written to it`,
    )
}

function parseSetting(key: TopicSettingKey, text: string): string | number | boolean {
  try {
    return TOPIC_SETTINGS[key].parse(text.trim())
  } catch (thrown) {
    if (!(thrown instanceof SettingProblem)) throw thrown
    const shown = text.length > 60 ? `${text.slice(0, 60)}...` : text
    const message = `${key}=${shown}: ${thrown.message}`
    if (thrown.isLater) throw new NaruError('NOT_IMPLEMENTED', message, { details: { setting: key } })
    throw invalid(key, message)
  }
}

function invalid(key: string, message: string): NaruError {
  return new NaruError('INVALID_SETTING', message, { details: { setting: key } })
}

class SettingProblem extends Error {
  /** A value that Kafka knows, and this release cannot honour. */
  readonly isLater: boolean

  constructor(message: string, isLater = false) {
    super(message)
    this.isLater = isLater
  }
}

function number(row: { default: number; min: number; max: number; doc: string }): SettingRow<number> {
  const parse = (text: string): number => {
    const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    if (!Number.isSafeInteger(value)) throw new SettingProblem('a whole number is needed')
    if (value < row.min) throw new SettingProblem(`at least ${row.min} is needed`)
    if (value > row.max) throw new SettingProblem(`at most ${row.max} is allowed`)
    return value
  }
  return { type: 'number', ...row, parse }
}

function fraction(row: { default: number; doc: string }): SettingRow<number> {
  const parse = (text: string): number => {
    const value = /^(\d{1,2}(\.\d{0,9})?|\.\d{1,9})$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= 0 && value <= 1)) throw new SettingProblem('a number from 0 to 1 is needed')
    return value
  }
  return { type: 'number', min: 0, max: 1, ...row, parse }
}

/** One or several of the values, separated by commas; kept in the order of their names. */
function policies(row: { default: string; values: readonly string[]; doc: string }): SettingRow<string> {
  const parse = (text: string): string => {
    const asked = text.split(',').map(value => value.trim())
    for (const value of asked) {
      if (row.values.includes(value)) continue
      const shown = row.values.join(' or ')
      throw new SettingProblem(`${shown} (or both) is needed${didYouMean(value, row.values)}`)
    }
    return [...new Set(asked)].sort().join(',')
  }
  return { type: 'choice', ...row, parse }
}

function flag(row: { default: boolean; doc: string }): SettingRow<boolean> {
  const parse = (text: string): boolean => {
    const lower = text.toLowerCase()
    if (lower !== 'true' && lower !== 'false') throw new SettingProblem('true or false is needed')
    return lower === 'true'
  }
  return { type: 'boolean', ...row, parse }
}

function choice(row: {
  default: string
  values: readonly string[]
  later?: Readonly<Record<string, string>>
  doc: string
}): SettingRow<string> {
  const parse = (text: string): string => {
    if (row.values.includes(text)) return text
    const known = row.later !== undefined && Object.hasOwn(row.later, text) ? row.later[text] : undefined
    if (known !== undefined) throw new SettingProblem(known, true)
    const shown = row.values.join(' or ')
    throw new SettingProblem(`${shown} is needed${didYouMean(text, row.values)}`)
  }
  const { default: value, values, doc } = row
  return { type: 'choice', default: value, values, doc, parse }
}
