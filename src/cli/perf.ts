import { randomFillSync } from 'node:crypto'
import { type Command, Option } from 'commander'
import type { Client } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { formatJson, formatTable, plural, rateText } from './output.ts'
import { startProgress } from './progress.ts'

const PAYLOAD_BYTES_MAX = 1024 * 1024

export function addPerfCommands(program: Command, context: CliContext): void {
  const perf = program.command('perf').description('measure how fast this cluster is from here')
  addPerfProduce(perf, context)
  addPerfConsume(perf, context)
  addPerfEndToEnd(perf, context)
}

interface LoadFlags extends ConnectionFlags {
  readonly records: number
  readonly recordBytes: number
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
}

function addLoadOptions(command: Command, preset: { records: number }): Command {
  return command
    .option('--records <count>', 'how many', wholeNumber({ min: 1 }), preset.records)
    .option(
      '--record-bytes <bytes>',
      'size of each value',
      wholeNumber({ min: 1, max: PAYLOAD_BYTES_MAX }),
      100,
    )
}

function addPerfProduce(perf: Command, context: CliContext): void {
  const command = addLoadOptions(perf.command('produce <topic>'), { records: 1_000_000 })
    .description('store random records as fast as they are acknowledged')
    .addOption(
      new Option('--compression <codec>', 'of the batches').choices([
        'none',
        'gzip',
        'snappy',
        'lz4',
        'zstd',
      ]),
    )
  addConnectionOption(command, context).action(async (topic: string, flags: LoadFlags) => {
    await withClient(context, flags, client => produceLoad(client, topic, flags, context))
  })
}

async function produceLoad(
  client: Client,
  topic: string,
  flags: LoadFlags,
  context: CliContext,
): Promise<void> {
  const values = randomValues(flags.recordBytes)
  const progress = startProgress({
    label: topic,
    total: flags.records,
    format: done => plural(done, 'record'),
  })
  const started = context.monotonicMs()
  try {
    await using producer = client.producer(flags.compression ? { compression: flags.compression } : {})
    for (let i = 0; i < flags.records; i++) {
      const value = values[i % values.length] as Buffer
      if (!producer.enqueue({ topic, value })) {
        await producer.ready()
        progress.advance(i)
      }
    }
    await producer.flush()
  } finally {
    progress.stop()
  }
  const done = { records: flags.records, bytes: flags.records * flags.recordBytes }
  say(context.stdout, `produced ${rateText(done, context.monotonicMs() - started)}`)
}

function addPerfConsume(perf: Command, context: CliContext): void {
  const command = perf
    .command('consume <topic>')
    .description('read a topic from its beginning to its end and count')
    .option('--records <count>', 'stop after so many', wholeNumber({ min: 1 }))
  addConnectionOption(command, context).action(
    async (topic: string, flags: ConnectionFlags & { records?: number }) => {
      await withClient(context, flags, async client => {
        const max = flags.records ?? Number.POSITIVE_INFINITY
        const done = { records: 0, bytes: 0 }
        const started = context.monotonicMs()
        await using reader = client.reader({ topic, start: 'earliest', stop: 'currentEnd' })
        for await (const batch of reader.batches()) {
          for (const record of batch.records) {
            done.records++
            done.bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
          }
          if (done.records >= max) break
        }
        say(context.stdout, `consumed ${rateText(done, context.monotonicMs() - started)}`)
      })
    },
  )
}

function addPerfEndToEnd(perf: Command, context: CliContext): void {
  const command = addLoadOptions(perf.command('e2e <topic>'), { records: 1000 }).description(
    'send one record at a time, and take the time until it is acknowledged and until it is read',
  )
  addOutputOption(addConnectionOption(command, context)).action(
    async (topic: string, flags: LoadFlags & OutputFlags) => {
      const rows = await withClient(context, flags, client => endToEnd(client, topic, flags, context))
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

interface LatencyRow {
  readonly until: string
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

async function endToEnd(
  client: Client,
  topic: string,
  flags: LoadFlags,
  context: CliContext,
): Promise<LatencyRow[]> {
  const values = randomValues(flags.recordBytes)
  await using producer = client.producer({})
  // The first record says where the others will come, so that the reader is there before them.
  const first = await producer.send({ topic, value: values[0] as Buffer })
  const { partition } = first
  await using reader = client.reader({ topic, partitions: [partition], start: { offset: first.offset } })
  const records = reader[Symbol.asyncIterator]()
  await records.next()
  const acknowledged: number[] = []
  const read: number[] = []
  for (let i = 0; i < flags.records; i++) {
    const started = context.monotonicMs()
    const sent = producer
      .send({ topic, partition, value: values[i % values.length] as Buffer })
      .then(result => {
        acknowledged.push(context.monotonicMs() - started)
        return result.offset
      })
    let next = await records.next()
    const seen = context.monotonicMs() - started
    const offset = await sent
    // Somebody else may write to the topic as well.
    while (!next.done && next.value.offset < offset) next = await records.next()
    read.push(seen)
  }
  return [latencyRow('acknowledged', acknowledged), latencyRow('read', read)]
}

function latencyRow(until: string, samples: number[]): LatencyRow {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (fraction: number): number => {
    const index = Math.min(sorted.length - 1, Math.ceil(fraction * sorted.length) - 1)
    return Math.round((sorted[index] ?? 0) * 100) / 100
  }
  return { until, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) }
}

/** Different ones, so that compression finds nothing that real records would not have. */
function randomValues(sizeBytes: number): Buffer[] {
  const count = Math.max(1, Math.min(1000, Math.floor((4 * PAYLOAD_BYTES_MAX) / sizeBytes)))
  const bytes = randomFillSync(Buffer.allocUnsafe(count * sizeBytes))
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * sizeBytes, (i + 1) * sizeBytes))
}
