import type { Command } from 'commander'
import type { Client, Producer } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { formatJson, formatTable } from './output.ts'
import { addRecordBytesOption, randomValues } from './perf-load.ts'

export function addPerfEndToEnd(perf: Command, context: CliContext): void {
  const command = addRecordBytesOption(perf.command('e2e <topic>'))
    .description('send one record at a time, and take the time until it is acknowledged and until it is read')
    .option('--records <count>', 'how many', wholeNumber({ min: 1 }), 1000)
    .option(
      '--warmup-records <count>',
      'how many before those, which do not count',
      wholeNumber({ min: 0 }),
      0,
    )
    .option('--no-read', 'do not read them, only wait until they are acknowledged')
  addOutputOption(addConnectionOption(command, context)).action(
    async (topic: string, flags: EndToEndFlags) => {
      const rows = await withClient(context, flags, client => {
        const load = { client, topic, flags, context }
        return flags.read ? sendAndRead(load) : sendOnly(load)
      })
      if (flags.output === 'json') return say(context.stdout, formatJson(rows))
      const columns = [
        { title: 'MILLISECONDS UNTIL', value: (row: LatencyRow) => row.until },
        ...(['p50', 'p95', 'p99', 'max'] as const).map(title => ({
          title: title.toUpperCase(),
          value: (row: LatencyRow) => row[title],
        })),
      ]
      say(context.stdout, formatTable(columns, rows))
    },
  )
}

interface EndToEndFlags extends ConnectionFlags, OutputFlags {
  readonly records: number
  readonly warmupRecords: number
  readonly recordBytes: number
  readonly read: boolean
}

interface Load {
  readonly client: Client
  readonly topic: string
  readonly flags: EndToEndFlags
  readonly context: CliContext
}

interface LatencyRow {
  readonly until: string
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

async function sendOnly(load: Load): Promise<LatencyRow[]> {
  const { flags, context } = load
  await using producer = load.client.producer({})
  const send = await singleSender(load, producer)
  const acknowledged: number[] = []
  for (let i = 0; i < flags.warmupRecords + flags.records; i++) {
    const started = context.monotonicMs()
    await send()
    acknowledged.push(context.monotonicMs() - started)
  }
  return [latencyRow('acknowledged', acknowledged.slice(flags.warmupRecords))]
}

async function sendAndRead(load: Load): Promise<LatencyRow[]> {
  const { client, topic, flags, context } = load
  await using producer = client.producer({})
  const send = await singleSender(load, producer)
  const { partition, offset: from } = await send()
  await using reader = client.reader({ topic, partitions: [partition], start: { offset: from } })
  const records = reader[Symbol.asyncIterator]()
  await records.next()
  const acknowledged: number[] = []
  const read: number[] = []
  for (let i = 0; i < flags.warmupRecords + flags.records; i++) {
    const started = context.monotonicMs()
    const sent = send().then(result => {
      acknowledged.push(context.monotonicMs() - started)
      return result.offset
    })
    let next = await records.next()
    let seen = context.monotonicMs() - started
    const offset = await sent
    // Somebody else may write to the topic as well.
    while (!next.done && next.value.offset < offset) {
      next = await records.next()
      seen = context.monotonicMs() - started
    }
    read.push(seen)
  }
  const counted = (samples: number[]) => samples.slice(flags.warmupRecords)
  return [latencyRow('acknowledged', counted(acknowledged)), latencyRow('read', counted(read))]
}

/** Sends to one partition, the one that the first record went to, so that a reader of it sees the others. */
async function singleSender(load: Load, producer: Producer) {
  const { topic, flags } = load
  const values = randomValues(flags.recordBytes)
  const { partition } = await producer.send({ topic, value: values[0] })
  let sent = 0
  return () => producer.send({ topic, partition, value: values[sent++ % values.length] })
}

function latencyRow(until: string, samples: number[]): LatencyRow {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (fraction: number): number => {
    const index = Math.min(sorted.length - 1, Math.ceil(fraction * sorted.length) - 1)
    return Math.round((sorted[index] ?? 0) * 100) / 100
  }
  return { until, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) }
}
