import type { PartitionId } from '../../base/brands.ts'
import type { MessageInit, Position, Stop } from '../../wire/messages.ts'
import { callback, checkOptions, type OptionRule, shown, topicName, wholeNumber } from '../option-check.ts'
import type { ReaderOptions, SkippedOffsets, StartPosition, StopPosition } from './types.ts'

/** The options of a reader with everything that was left out, in the words of the wire. */
export interface ReaderSettings {
  readonly topic: string
  /** Undefined: all, and those to come. */
  readonly partitions: readonly PartitionId[] | undefined
  readonly startOf: (partition: PartitionId) => MessageInit<Position>
  /** Undefined: never. */
  readonly stopOf: (partition: PartitionId) => MessageInit<Stop> | undefined
  readonly hasStop: boolean
  readonly creditBytesMax: number
  readonly retryTimeoutMs: number
  readonly onSkipped: ((skipped: SkippedOffsets) => void) | undefined
}

export function readerSettings(options: ReaderOptions): ReaderSettings {
  checkOptions('reader', options, READER_OPTIONS)
  const wrongTopic = topicName(options.topic)
  if (wrongTopic) throw new TypeError(`reader: the option topic must be ${wrongTopic}`)
  const starts = perPartition<StartPosition>(options.start)
  const stops = perPartition<StopPosition>(options.stop)
  const start = options.start as StartPosition | undefined
  const stop = options.stop as StopPosition | undefined
  return {
    topic: options.topic,
    partitions: options.partitions ?? (starts ? [...starts.keys()] : undefined),
    startOf: partition => wireStart((starts ? starts.get(partition) : start) ?? 'earliest'),
    stopOf: partition => {
      const chosen = stops ? stops.get(partition) : stop
      return chosen === undefined ? undefined : wireStop(chosen)
    },
    hasStop: options.stop !== undefined,
    creditBytesMax: options.creditBytesMax ?? CREDIT_BYTES_DEFAULT,
    retryTimeoutMs: options.retryTimeoutMs ?? 120_000,
    onSkipped: options.onSkipped,
  }
}

const MIB = 1024 * 1024
export const CREDIT_BYTES_DEFAULT = 8 * MIB
export const creditBytes = wholeNumber({ min: 64 * 1024, max: 1024 * MIB })
export const START_WANTED = "'earliest', 'latest', { offset }, { timestampMs } or { lastN }"

const READER_OPTIONS = {
  topic: topicName,
  partitions: partitionList,
  start: placeRule(
    isStart,
    "'earliest', 'latest', { offset }, { timestampMs }, { lastN }, or { partitions: { 0: ... } } of these",
  ),
  stop: placeRule(
    isStop,
    "'currentEnd', { offset }, { timestampMs }, or { partitions: { 0: ... } } of these",
  ),
  creditBytesMax: creditBytes,
  retryTimeoutMs: wholeNumber({ min: 1, max: 24 * 3_600_000 }),
  onSkipped: callback,
}

function partitionList(value: unknown): string | undefined {
  const isList =
    Array.isArray(value) &&
    value.length > 0 &&
    new Set(value).size === value.length &&
    value.every(one => isCount(one))
  return isList ? undefined : 'an array of different partition numbers'
}

function placeRule(isPlace: (value: unknown) => boolean, wanted: string): OptionRule {
  return value => {
    const map = perPartition(value)
    const isRight = map === undefined ? isPlace(value) : map.size > 0 && [...map.values()].every(isPlace)
    return isRight ? undefined : wanted
  }
}

export function isStart(value: unknown): boolean {
  return value === 'earliest' || value === 'latest' || holdsOne(value, ['earliest', 'latest'], START_NUMBERS)
}

function isStop(value: unknown): boolean {
  return value === 'currentEnd' || holdsOne(value, ['currentEnd'], STOP_NUMBERS)
}

const START_NUMBERS = ['offset', 'timestampMs', 'timestamp', 'lastN']
const STOP_NUMBERS = ['offset', 'timestampMs', 'timestamp']

function holdsOne(value: unknown, flags: readonly string[], numbers: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  const [entry, ...others] = Object.entries(value)
  if (entry === undefined || others.length > 0) return false
  const [name, held] = entry
  return (flags.includes(name) && held === true) || (numbers.includes(name) && isCount(held))
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function perPartition<Place>(value: unknown): Map<PartitionId, Place> | undefined {
  if (typeof value !== 'object' || value === null || !('partitions' in value)) return undefined
  const entries = Object.entries(value.partitions as Record<string, Place>)
  const map = new Map(entries.map(([partition, place]) => [Number(partition), place]))
  for (const partition of map.keys())
    if (!isCount(partition))
      throw new TypeError(`reader: { partitions } must name partitions by number, not ${shown(partition)}`)
  return map
}

export function wireStart(place: StartPosition): MessageInit<Position> {
  if (place === 'earliest' || place === 'latest') return { at: place === 'earliest' ? 'EARLIEST' : 'LATEST' }
  if ('offset' in place) return { offset: place.offset }
  if ('timestampMs' in place) return { timestampMs: place.timestampMs }
  if ('timestamp' in place) return { timestampMs: place.timestamp }
  if ('lastN' in place) return { last: place.lastN }
  return { at: 'earliest' in place ? 'EARLIEST' : 'LATEST' }
}

function wireStop(place: StopPosition): MessageInit<Stop> {
  if (place === 'currentEnd') return { at: 'CURRENT_END' }
  if ('offset' in place) return { offset: place.offset }
  if ('timestampMs' in place) return { timestampMs: place.timestampMs }
  if ('timestamp' in place) return { timestampMs: place.timestamp }
  return { at: 'CURRENT_END' }
}
