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
import { sayRate } from './perf-load.ts'

export function addPerfConsume(perf: Command, context: CliContext): void {
  const command = perf
    .command('consume <topic>')
    .description('read a topic from its beginning to its end and count')
    .option('--records <count>', 'stop after so many', wholeNumber({ min: 1 }))
  addOutputOption(addConnectionOption(command, context)).action(
    async (topic: string, flags: ConsumeLoadFlags) => {
      await withClient(context, flags, client => consumeLoad(client, topic, flags, context))
    },
  )
}

interface ConsumeLoadFlags extends ConnectionFlags, OutputFlags {
  readonly records?: number
}

async function consumeLoad(
  client: Client,
  topic: string,
  flags: ConsumeLoadFlags,
  context: CliContext,
): Promise<void> {
  const recordsMax = flags.records ?? Number.POSITIVE_INFINITY
  let records = 0
  let bytes = 0
  const started = context.monotonicMs()
  await using reader = client.reader({ topic, start: 'earliest', stop: 'currentEnd' })
  for await (const batch of reader.batches()) {
    for (const record of batch.records) {
      records++
      bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
    }
    if (records >= recordsMax) break
  }
  sayRate(context, flags.output, {
    what: 'consumed',
    records,
    bytes,
    elapsedMs: context.monotonicMs() - started,
  })
}
