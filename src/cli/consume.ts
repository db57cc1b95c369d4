import { type Command, InvalidArgumentError, Option } from 'commander'
import type {
  Client,
  ConsumedRecord,
  ConsumerOptions,
  Reader,
  ReaderOptions,
  RecordBatch,
  SkippedOffsets,
  StartPosition,
} from '../client/index.ts'
import { addConnectionOption, type ConnectionFlags, wholeNumber, withClient } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { LineWriter } from './line-writer.ts'
import { rateText } from './output.ts'
import { recordAsJson } from './record-json.ts'

export function addConsumeCommand(program: Command, context: CliContext): void {
  const command = program
    .command('consume [topics...]')
    .description('print the values of records, one a line, from now on (or from where the flags say)')
    .option(
      '--group <name>',
      'share the partitions of the topics with the other members of this group; what was printed is committed',
    )
    .option('--member <name>', 'the name in the group that survives restarts (default: a random one)')
    .option('--topic-pattern <pattern>', 'in a group: also the topics that match (* any characters, ? one)')
    .option('--from-beginning', 'start with the oldest record (in a group: where it has committed nothing)')
    .option('--offset <position>', 'start at this offset of --partition, or at earliest or latest', offset)
    .option(
      '--from-time <time>',
      'start with the first record of that time (ISO 8601, or milliseconds since 1970)',
      time,
    )
    .option('--partition <n>', 'read only this partition', wholeNumber({ min: 0 }))
    .option('--until-end', 'stop at what is the end when the command starts')
    .option('--max <count>', 'stop after so many records (kafka: --max-messages)', wholeNumber({ min: 1 }))
    .option('--key-separator <text>', 'print the key as well, with this text between it and the value')
    .addOption(
      new Option(
        '-o, --output <format>',
        'value: the bytes as they are; json: one document a line with all there is',
      )
        .choices(['value', 'json'])
        .default('value'),
    )
  addConnectionOption(command, context).action(async (topics: string[], flags: ConsumeFlags) => {
    const run = flags.group === undefined ? readRun(topics, flags) : groupRun(topics, flags)
    await withClient(context, flags, client => run(client, context))
  })
}

interface ConsumeFlags extends ConnectionFlags {
  readonly group?: string
  readonly member?: string
  readonly topicPattern?: string
  readonly fromBeginning?: boolean
  readonly offset?: number | 'earliest' | 'latest'
  readonly fromTime?: number
  readonly partition?: number
  readonly untilEnd?: boolean
  readonly max?: number
  readonly keySeparator?: string
  readonly output: 'value' | 'json'
}

type Run = (client: Client, context: CliContext) => Promise<void>

/** What is wrong with the flags is said before anything is connected to. */
function readRun(topics: readonly string[], flags: ConsumeFlags): Run {
  const [topic, ...others] = topics
  if (topic === undefined) throw new UsageError('name a topic: naru consume TOPIC')
  if (others.length > 0) throw new UsageError('several topics are for groups: add --group NAME')
  for (const name of ['member', 'topicPattern'] as const)
    if (flags[name] !== undefined)
      throw new UsageError(`${flagOf(name)} means something in a group only: add --group NAME`)
  const options = readerOptions(topic, flags)
  return async (client, context) => {
    await using reader: Reader = client.reader({
      ...options,
      onSkipped: skipped => say(context.stderr, `warning: ${skippedText(skipped)}`),
    })
    context.onInterrupt(() => void reader.close())
    await print(reader.batches(), flags, context)
  }
}

function skippedText({ topic, partition, from, to }: SkippedOffsets): string {
  return to < from
    ? `${topic}/${partition} goes on at offset ${to}, not at ${from}: the end of its log was given up in a recovery`
    : `offsets ${from} to ${to} of ${topic}/${partition} are gone, as retention has it`
}

function groupRun(topics: readonly string[], flags: ConsumeFlags): Run {
  const options = consumerOptions(topics, flags)
  return async (client, context) => {
    await using consumer = client.consumer({
      ...options,
      onWarning: message => say(context.stderr, `warning: ${message}`),
      onSkipped: skipped => say(context.stderr, `warning: ${skippedText(skipped)}`),
    })
    context.onInterrupt(() => void consumer.close({ waitMs: WRITE_MS_MAX }))
    const last = await print(consumer.batches(), flags, context)
    // The batch that --max ends in has not come back: what was printed of it is done.
    if (last === undefined) return
    const { topic, partition, offset: lastOffset } = last
    await consumer.commit([{ topic, partition, nextOffset: lastOffset + 1 }])
  }
}

/** Lines that are being written at an interrupt are finished, and committed. */
const WRITE_MS_MAX = 5_000

/** Returns the record that --max ends with; undefined: it was ended otherwise. */
async function print(
  batches: AsyncIterable<RecordBatch>,
  flags: ConsumeFlags,
  context: CliContext,
): Promise<ConsumedRecord | undefined> {
  const writer = new LineWriter(context.stdout)
  const format = lineFormat(flags)
  const max = flags.max ?? Number.POSITIVE_INFINITY
  const done = { records: 0, bytes: 0 }
  const started = context.monotonicMs()
  let last: ConsumedRecord | undefined
  for await (const batch of batches) {
    for (const record of batch.records) {
      const line = format(record)
      done.records++
      done.bytes += line.length
      if (writer.add(line)) await writer.flush()
      if (done.records >= max) last = record
      if (last !== undefined || writer.isClosed) break
    }
    // What has come is shown before the next batch is waited for.
    await writer.flush()
    if (last !== undefined || writer.isClosed) break
  }
  say(context.stderr, `consumed ${rateText(done, context.monotonicMs() - started)}`)
  return writer.isClosed ? undefined : last
}

function lineFormat(flags: ConsumeFlags): (record: ConsumedRecord) => Buffer {
  if (flags.output === 'json') return record => Buffer.from(JSON.stringify(recordAsJson(record)))
  const empty = Buffer.alloc(0)
  if (flags.keySeparator === undefined) return record => record.value ?? empty
  const between = Buffer.from(flags.keySeparator.replaceAll('\\t', '\t'))
  return record => Buffer.concat([record.key ?? empty, between, record.value ?? empty])
}

function readerOptions(topic: string, flags: ConsumeFlags): ReaderOptions {
  return {
    topic,
    start: startOf(flags),
    ...(flags.partition !== undefined && { partitions: [flags.partition] }),
    ...(flags.untilEnd && { stop: 'currentEnd' as const }),
  }
}

function consumerOptions(topics: readonly string[], flags: ConsumeFlags): ConsumerOptions {
  for (const name of ['partition', 'untilEnd'] as const)
    if (flags[name] !== undefined)
      throw new UsageError(
        `${flagOf(name)} does not go with --group, whose members share what there is and comes`,
      )
  if (typeof flags.offset === 'number')
    throw new UsageError(
      'a group goes on where it has committed: see naru groups reset-offsets, or read without --group',
    )
  const { topicPattern, member } = flags
  if (topics.length === 0 && topicPattern === undefined)
    throw new UsageError('name topics, or a --topic-pattern: naru consume TOPIC --group NAME')
  return {
    group: flags.group ?? '',
    topics,
    start: startOf(flags),
    clientId: 'naru-consume',
    ...(topicPattern !== undefined && { topicPattern }),
    ...(member !== undefined && { member }),
  }
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

function startOf(flags: ConsumeFlags): StartPosition {
  const given = [flags.fromBeginning, flags.offset, flags.fromTime].filter(one => one !== undefined)
  if (given.length > 1)
    throw new UsageError('--from-beginning, --offset and --from-time exclude each other: keep one')
  if (typeof flags.offset === 'number') {
    if (flags.partition === undefined) {
      throw new UsageError('an offset means something in one partition only: add --partition N')
    }
    return { offset: flags.offset }
  }
  if (flags.fromTime !== undefined) return { timestampMs: flags.fromTime }
  return flags.fromBeginning || flags.offset === 'earliest' ? 'earliest' : 'latest'
}

function offset(text: string): number | 'earliest' | 'latest' {
  if (text === 'earliest' || text === 'latest') return text
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new InvalidArgumentError('It must be a whole number, earliest or latest.')
}

function time(text: string): number {
  const timestampMs = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (Number.isSafeInteger(timestampMs) && timestampMs >= 0) return timestampMs
  throw new InvalidArgumentError('It must be a time like 2026-01-31T12:00:00Z, or milliseconds since 1970.')
}
