import { readdirSync, readFileSync } from 'node:fs'
import { batchPositions } from '../../src/records/batch-positions.ts'

/** The segments that Apache Kafka wrote (test/data/README.md) and what its own consumer read from them. */
const DIRECTORY = new URL('../data/kafka-batches/', import.meta.url)

export const SAMPLES = [
  'none',
  'gzip',
  'snappy',
  'lz4',
  'zstd',
  'plain-producer',
  'log-append-time',
  'transactions',
  'rolled',
] as const

export interface SampleRecord {
  readonly offset: number
  readonly timestamp: number
  readonly timestampType: string
  readonly leaderEpoch: number
  /** Base64, like values and header values. */
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

export function sampleSegments(name: string): Buffer[] {
  const folder = new URL(`${name}/`, DIRECTORY)
  return readdirSync(folder)
    .filter(file => file.endsWith('.log'))
    .sort()
    .map(file => readFileSync(new URL(file, folder)))
}

/** Each batch as a buffer of its own. */
export function sampleBatches(name: string): Buffer[] {
  return sampleSegments(name).flatMap(segment => {
    const starts = [...batchPositions(segment)]
    return starts.map((start, index) => Buffer.from(segment.subarray(start, starts[index + 1])))
  })
}

export function sampleRecords(name: string): SampleRecord[] {
  const lines = readFileSync(new URL(`${name}.jsonl`, DIRECTORY), 'utf8')
    .trim()
    .split('\n')
  return lines.map(line => JSON.parse(line) as SampleRecord)
}
