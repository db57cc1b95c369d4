import { cp, readdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { DumpedSegments } from './dumped-segments.ts'
import type { ExpectedPartition } from './expected-partition.ts'
import type { KafkaTools, OpenedPartition } from './kafka-tools.ts'

export interface InteropReport {
  readonly complaints: readonly string[]
  readonly partitions: number
  readonly segments: number
  readonly batches: number
  readonly records: number
  /** Of offset and time indexes and producer snapshots. */
  readonly entries: number
}

/**
 * Lets Kafka judge partition directories, in three ways: DumpLogSegments reads every batch, record, index entry and
 * producer snapshot; the same tool holds each index against its log; and the classes that a broker opens its logs
 * with open copies, once trusting indexes, epochs and snapshots, once making everything anew from the batches. Both
 * must see the same state.
 */
export async function checkPartitions(
  kafka: KafkaTools,
  partitions: readonly ExpectedPartition[],
  scratchDirectory: string,
): Promise<InteropReport> {
  const complaints: string[] = []
  const compacted = partitions.filter(one => one.recordCount !== undefined).map(one => `${one.directory}/`)
  const dumped = new DumpedSegments({
    mayHaveGaps: path => compacted.some(directory => path.startsWith(directory)),
  })
  const files = (await Promise.all(partitions.map(filesOf))).flat()
  const { log = [], index = [], timeindex = [], snapshot = [] } = bySuffix(files)
  const everything = [...log, ...index, ...timeindex, ...snapshot].join(',')
  await kafka.dumpLogSegments(['--deep-iteration', '--files', everything], line => dumped.takeLine(line))
  complaints.push(...dumped.complaints)

  const verified = new DumpedSegments()
  const indexes = [...index, ...timeindex].join(',')
  for (const mode of ['--verify-index-only', '--index-sanity-check'])
    await kafka.dumpLogSegments([mode, '--files', indexes], line => verified.takeLine(line))
  complaints.push(...verified.complaints)
  for (const partition of partitions) complaints.push(...recordComplaints(partition, dumped))

  complaints.push(...(await loadComplaints(kafka, partitions, scratchDirectory)))
  const sum = (key: 'batches' | 'records' | 'entries') =>
    [...dumped.files.values()].reduce((total, file) => total + file[key], 0)
  return {
    complaints,
    partitions: partitions.length,
    segments: log.length,
    batches: sum('batches'),
    records: sum('records'),
    entries: sum('entries'),
  }
}

async function filesOf({ directory }: ExpectedPartition): Promise<string[]> {
  return (await readdir(directory)).sort().map(name => join(directory, name))
}

function bySuffix(files: readonly string[]): Partial<Record<string, string[]>> {
  const groups: Partial<Record<string, string[]>> = {}
  for (const file of files) {
    const suffix = /\.(log|index|timeindex|snapshot)$/.exec(file)?.[1]
    if (suffix === undefined) continue
    groups[suffix] = [...(groups[suffix] ?? []), file]
  }
  return groups
}

/** Every offset from the start to the end of the log, each once; of a compacted log the records that are left. */
function recordComplaints(partition: ExpectedPartition, dumped: DumpedSegments): string[] {
  const complaints: string[] = []
  let nextOffset = partition.startOffset
  let records = 0
  for (const [path, file] of dumped.files) {
    if (!path.startsWith(`${partition.directory}/`) || !path.endsWith('.log')) continue
    const base = Number(basename(path, '.log'))
    if (base !== nextOffset) complaints.push(`${path} begins at ${base}, not at ${nextOffset}`)
    records += file.records
    if (partition.recordCount === undefined && file.records !== (file.nextOffset ?? base) - base)
      complaints.push(`${path} has ${file.records} records up to offset ${file.nextOffset}`)
    nextOffset = file.nextOffset ?? base
  }
  if (partition.recordCount !== undefined && records !== partition.recordCount)
    complaints.push(`${partition.directory} has ${records} records, not ${partition.recordCount}`)
  if (nextOffset !== partition.endOffset)
    complaints.push(`${partition.directory} ends at ${nextOffset}, not at ${partition.endOffset}`)
  return complaints
}

async function loadComplaints(
  kafka: KafkaTools,
  partitions: readonly ExpectedPartition[],
  scratchDirectory: string,
): Promise<string[]> {
  const opened: OpenedPartition[][] = []
  const complaints: string[] = []
  for (const how of ['clean', 'recover'] as const) {
    const copies: string[] = []
    for (const { directory } of partitions) {
      const copy = join(scratchDirectory, how, basename(directory))
      await cp(directory, copy, { recursive: true })
      copies.push(copy)
    }
    const before = await Promise.all(copies.map(indexSizes))
    opened.push(await kafka.openPartitions(how, copies))
    // An index that Kafka does not trust it makes anew, with a word in its log only.
    const after = await Promise.all(copies.map(indexSizes))
    if (how === 'clean' && !isDeepStrictEqual(before, after))
      complaints.push(`Kafka made indexes anew: ${JSON.stringify({ before, after })}`)
    await rm(join(scratchDirectory, how), { recursive: true })
  }
  for (const [at, expected] of partitions.entries()) {
    const [clean, recovered] = opened.map(ones => ones[at])
    const where = expected.directory
    if (!isDeepStrictEqual(clean, recovered))
      complaints.push(
        `${where}: the derived files say ${JSON.stringify(clean)}, the batches ${JSON.stringify(recovered)}`,
      )
    const { startOffset, endOffset } = expected
    const { topicId = recovered?.topicId, epochs = recovered?.epochs } = expected
    const { name, segments, producers, ...found } = recovered as OpenedPartition
    if (!isDeepStrictEqual({ ...found }, { startOffset, endOffset, topicId, epochs }))
      complaints.push(
        `${where}: Kafka finds ${JSON.stringify(found)} where there is ${JSON.stringify(expected)}`,
      )
  }
  return complaints
}

/** Offset indexes of closed segments; Kafka makes that of the last one as large as it may become, and back at the close. */
async function indexSizes(directory: string): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {}
  for (const name of (await readdir(directory)).sort())
    if (/index$/.test(name)) sizes[name] = (await stat(join(directory, name))).size
  return sizes
}
