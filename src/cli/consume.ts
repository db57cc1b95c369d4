import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Client, Reader, ReaderOptions } from '../client/index.ts'
import { addConnectionOption, type ConnectionFlags, wholeNumber, withClient } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { LineWriter } from './line-writer.ts'
import { rateText } from './output.ts'
import { recordAsJson } from './record-json.ts'

export function addConsumeCommand(program: Command, context: CliContext): void {
  const command = program
    .command('consume <topic>')
    .description('print the values of records, one a line, from now on (or from where the flags say)')
    .option('--from-beginning', 'start with the oldest record')
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
  addConnectionOption(command, context).action(async (topic: string, flags: ConsumeFlags) => {
    await withClient(context, flags, client => consume(client, readerOptions(topic, flags), flags, context))
  })
}

interface ConsumeFlags extends ConnectionFlags {
  readonly fromBeginning?: boolean
  readonly offset?: number | 'earliest' | 'latest'
  readonly fromTime?: number
  readonly partition?: number
  readonly untilEnd?: boolean
  readonly max?: number
  readonly keySeparator?: string
  readonly output: 'value' | 'json'
}

async function consume(
  client: Client,
  options: ReaderOptions,
  flags: ConsumeFlags,
  context: CliContext,
): Promise<void> {
  const writer = new LineWriter(context.stdout)
  const format = lineFormat(flags)
  const max = flags.max ?? Number.POSITIVE_INFINITY
  const done = { records: 0, bytes: 0 }
  const started = context.monotonicMs()
  await using reader: Reader = client.reader(options)
  context.onInterrupt(() => void reader.close())
  for await (const batch of reader.batches()) {
    for (const record of batch.records) {
      const line = format(record)
      done.records++
      done.bytes += line.length
      if (writer.add(line)) await writer.flush()
      if (done.records >= max || writer.isClosed) break
    }
    // What has come is shown before the next batch is waited for.
    await writer.flush()
    if (done.records >= max || writer.isClosed) break
  }
  say(context.stderr, `consumed ${rateText(done, context.monotonicMs() - started)}`)
}

type ConsumedRecord = Parameters<typeof recordAsJson>[0]

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

function startOf(flags: ConsumeFlags): ReaderOptions['start'] {
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
