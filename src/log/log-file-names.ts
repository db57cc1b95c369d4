import type { Offset } from '../base/brands.ts'

/**
 * Names of the files of a partition directory, as Kafka's: a segment is named by the offset of its first record
 * in 20 digits, so that names sort as offsets do.
 */
export const LOG_SUFFIX = '.log'
export const OFFSET_INDEX_SUFFIX = '.index'
export const TIME_INDEX_SUFFIX = '.timeindex'
export const PRODUCER_SNAPSHOT_SUFFIX = '.snapshot'
/** A directory on its way out carries this, so that it is never opened again (rule A10). */
export const DELETED_SUFFIX = '.deleted'

/** What a cleaner is writing: worth nothing before it is whole. */
export const CLEANED_SUFFIX = '.cleaned'
/** Whole, and the truth from now on: it stands for all segments that begin in its range, and takes the name of the first. */
export const SWAP_SUFFIX = '.swap'

const DIGITS = 20
const CLEANED_FILE = /^(\d{20})-(\d{20})\.(cleaned|swap)$/
const OFFSET_FILE = /^(\d{20})(\.[a-z]+)$/

export type OffsetFileSuffix =
  | typeof LOG_SUFFIX
  | typeof OFFSET_INDEX_SUFFIX
  | typeof TIME_INDEX_SUFFIX
  | typeof PRODUCER_SNAPSHOT_SUFFIX

export function offsetFileName(offset: Offset, suffix: OffsetFileSuffix): string {
  return String(offset).padStart(DIGITS, '0') + suffix
}

/** Offset and suffix of a name that `offsetFileName` makes; undefined for any other name. */
export function parseOffsetFileName(name: string): { offset: Offset; suffix: string } | undefined {
  const match = OFFSET_FILE.exec(name)
  if (!match) return undefined
  const offset = Number(match[1])
  return Number.isSafeInteger(offset) ? { offset, suffix: match[2] ?? '' } : undefined
}

/** Offsets [base, end) of a cleaned segment on its way, by its name. */
export function cleanedFileName(
  range: OffsetRange,
  suffix: typeof CLEANED_SUFFIX | typeof SWAP_SUFFIX,
): string {
  const [base, end] = [range.baseOffset, range.endOffset].map(offset => String(offset).padStart(DIGITS, '0'))
  return `${base}-${end}${suffix}`
}

export interface OffsetRange {
  readonly baseOffset: Offset
  /** Exclusive. */
  readonly endOffset: Offset
}

export function parseCleanedFileName(name: string): (OffsetRange & { isWhole: boolean }) | undefined {
  const match = CLEANED_FILE.exec(name)
  if (!match) return undefined
  const [baseOffset, endOffset] = [Number(match[1]), Number(match[2])]
  if (!Number.isSafeInteger(baseOffset) || !Number.isSafeInteger(endOffset)) return undefined
  return { baseOffset, endOffset, isWhole: `.${match[3]}` === SWAP_SUFFIX }
}

/** `orders-3`: topic names may hold '-', so the partition is what follows the last one. */
export function partitionDirectoryName(topic: string, partition: number): string {
  return `${topic}-${partition}`
}

export function parsePartitionDirectoryName(name: string): { topic: string; partition: number } | undefined {
  const match = /^(.+)-(\d{1,10})$/.exec(name)
  if (!match?.[1]) return undefined
  return { topic: match[1], partition: Number(match[2]) }
}
