import { setImmediate } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Client } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  wholeNumber,
  withClient,
} from './common-options.ts'
import type { CliContext } from './context.ts'
import { UsageError } from './errors.ts'
import { plural } from './output.ts'
import { addCompressionOption, addRecordBytesOption, randomValues, sayRate } from './perf-load.ts'
import { ProduceReport } from './produce-report.ts'
import { startProgress } from './progress.ts'

const RECORDS_DEFAULT = 1_000_000

/** Records made without letting the sockets have a turn: a real program gets its records from somewhere, too. */
const TURN_BYTES_MAX = 256 * 1024

export function addPerfProduce(perf: Command, context: CliContext): void {
  const command = perf
    .command('produce <topic>')
    .description('store random records as fast as they are acknowledged')
    .option('--records <count>', `how many (default: ${RECORDS_DEFAULT})`, wholeNumber({ min: 1 }))
    .option('--seconds <n>', 'for how long, instead of how many', wholeNumber({ min: 1 }))
    .option(
      '--spread <partitions>',
      'give each record to the next of so many partitions, as keys would (default: a batch to each)',
      wholeNumber({ min: 1 }),
    )
  addOutputOption(addConnectionOption(addCompressionOption(addRecordBytesOption(command)), context)).action(
    async (topic: string, flags: ProduceLoadFlags) => {
      if (flags.records !== undefined && flags.seconds !== undefined)
        throw new UsageError('--records and --seconds are both given: the load ends at one of them')
      await withClient(context, flags, client => produceLoad(client, topic, flags, context))
    },
  )
}

interface ProduceLoadFlags extends ConnectionFlags, OutputFlags {
  readonly records?: number
  readonly seconds?: number
  readonly spread?: number
  readonly recordBytes: number
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
}

async function produceLoad(
  client: Client,
  topic: string,
  flags: ProduceLoadFlags,
  context: CliContext,
): Promise<void> {
  const { recordBytes, compression, seconds, spread } = flags
  const values = randomValues(recordBytes)
  const recordsMax = flags.records ?? (seconds === undefined ? RECORDS_DEFAULT : Number.POSITIVE_INFINITY)
  const progress = startProgress({
    label: topic,
    total: Number.isFinite(recordsMax) ? recordsMax : undefined,
    format: done => plural(done, 'record'),
  })
  const turnRecords = Math.max(1, Math.floor(TURN_BYTES_MAX / recordBytes))
  const started = context.monotonicMs()
  const endMs = started + (seconds ?? Number.POSITIVE_INFINITY) * 1000
  const report = new ProduceReport(context)
  let taken = 0
  try {
    await using producer = client.producer({ ...(compression && { compression }), ...report.callbacks })
    // One failure is enough: a load that goes on without its topic or its node measures nothing.
    while (taken < recordsMax && report.failed === 0 && context.monotonicMs() < endMs) {
      let hasRoom = true
      const turnEnd = Math.min(recordsMax, taken + turnRecords)
      while (hasRoom && taken < turnEnd) {
        const value = values[taken % values.length] as Buffer
        const partition = spread === undefined ? undefined : taken % spread
        hasRoom = producer.enqueue({ topic, partition, value })
        taken++
      }
      progress.advance(taken)
      await (hasRoom ? setImmediate() : producer.ready())
    }
    await producer.flush()
  } finally {
    progress.stop()
    if (report.failed > 0) report.sayFailed()
  }
  const elapsedMs = context.monotonicMs() - started
  const records = report.stored
  sayRate(context, flags.output, { what: 'produced', records, bytes: records * recordBytes, elapsedMs })
}
