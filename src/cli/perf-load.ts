import { randomFillSync } from 'node:crypto'
import { type Command, Option } from 'commander'
import { wholeNumber } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { formatJson, type OutputFormat, rateText } from './output.ts'

const PAYLOAD_BYTES_MAX = 1024 * 1024
const VALUES_BYTES = 4 * 1024 * 1024

export function addRecordBytesOption(command: Command): Command {
  return command.option(
    '--record-bytes <bytes>',
    'size of each value',
    wholeNumber({ min: 1, max: PAYLOAD_BYTES_MAX }),
    100,
  )
}

export function addCompressionOption(command: Command): Command {
  const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
  return command.addOption(new Option('--compression <codec>', 'of the batches').choices(codecs))
}

/** Different ones, so that compression finds nothing that real records would not have. */
export function randomValues(sizeBytes: number): Buffer[] {
  const count = Math.max(1, Math.min(1000, Math.floor(VALUES_BYTES / sizeBytes)))
  const bytes = randomFillSync(Buffer.allocUnsafe(count * sizeBytes))
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * sizeBytes, (i + 1) * sizeBytes))
}

/** Says what was done in that time: a sentence for people, numbers for programs. */
export function sayRate(
  context: CliContext,
  output: OutputFormat,
  result: { what: string; records: number; bytes: number; elapsedMs: number },
): void {
  const { what, records, bytes, elapsedMs } = result
  if (output !== 'json') {
    say(context.stdout, `${what} ${rateText({ records, bytes }, elapsedMs)}`)
    return
  }
  const seconds = Math.max(elapsedMs, 1) / 1000
  const rates = { recordsPerSecond: records / seconds, bytesPerSecond: bytes / seconds }
  say(context.stdout, formatJson({ records, bytes, elapsedMs, ...rates }))
}
