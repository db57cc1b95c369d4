import { createReadStream, openSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Producer } from '../client/index.ts'
import { addConnectionOption, type ConnectionFlags, wholeNumber, withClient } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { explain, UsageError } from './errors.ts'
import { type KeyRule, keyedLine } from './line-key.ts'
import { LineSplitter } from './line-splitter.ts'
import { formatBytes } from './output.ts'
import { ProduceReport } from './produce-report.ts'
import { startProgress } from './progress.ts'

/** Large enough that the cost of a read is nothing beside the lines in it, small enough for several in memory. */
const READ_BYTES = 1024 * 1024

export function addProduceCommand(program: Command, context: CliContext): void {
  const command = program
    .command('produce <topic>')
    .description('store the lines of a file, or of standard input, as one record each')
    .option('-f, --file <path>', 'file to read (default: standard input)')
    .option(
      '--key-field <n>',
      'the key is the n-th field of the line, fields being separated by blanks',
      wholeNumber({ min: 1 }),
    )
    .option(
      '--key-separator <text>',
      'the key is what comes before the first such text, the value what follows',
      separator,
    )
    .option(
      '--partition <n>',
      'partition to write to (default: by key; lines without a key are spread)',
      wholeNumber({ min: 0 }),
    )
    .addOption(
      new Option('--compression <codec>', 'of the batches').choices([
        'none',
        'gzip',
        'snappy',
        'lz4',
        'zstd',
      ]),
    )
    .addOption(
      new Option('--acks <which>', 'wait for all in-sync replicas, for the leader, or for nobody').choices([
        'all',
        'leader',
        'none',
      ]),
    )
  addConnectionOption(command, context).action(async (topic: string, flags: ProduceFlags) => {
    if (flags.keyField !== undefined && flags.keySeparator !== undefined) {
      throw new UsageError('--key-field and --key-separator are both given: a line has one key')
    }
    await produce(topic, flags, context)
  })
}

interface ProduceFlags extends ConnectionFlags {
  readonly file?: string
  readonly keyField?: number
  readonly keySeparator?: Buffer
  readonly partition?: number
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly acks?: 'all' | 'leader' | 'none'
}

async function produce(topic: string, flags: ProduceFlags, context: CliContext): Promise<void> {
  const input = openInput(flags.file, context)
  const report = new ProduceReport(context, () => input.stream.destroy())
  context.onInterrupt(() => input.stream.destroy())
  await withClient(context, flags, async client => {
    if (input.stream.isTTY) say(context.stderr, 'one record a line; end with Ctrl-D')
    const progress = startProgress({ label: topic, total: input.totalBytes, format: formatBytes })
    const started = context.monotonicMs()
    const done = { inputBytes: 0, lineBytes: 0 }
    try {
      await using producer = client.producer({
        ...(flags.compression && { compression: flags.compression }),
        ...(flags.acks && { acks: flags.acks }),
        ...report.callbacks,
      })
      const work = { input: input.stream, producer, topic, flags, done, onBytes: progress.advance }
      await flushed(producer, produceLines(work), context)
    } finally {
      progress.stop()
      report.saySum({ bytes: done.lineBytes, elapsedMs: context.monotonicMs() - started })
    }
  })
}

/** Whatever stopped the reading: the lines before it are stored, and counted, before the error is told. */
async function flushed(producer: Producer, reading: Promise<void>, context: CliContext): Promise<void> {
  const [read] = await Promise.allSettled([reading])
  const [flush] = await Promise.allSettled([producer.flush()])
  if (flush.status === 'rejected') {
    // A command ends with one error; the other must not be lost.
    if (read.status === 'rejected') say(context.stderr, `naru: ${explain(read.reason).message}`)
    throw flush.reason
  }
  if (read.status === 'rejected') throw read.reason
}

interface Work {
  readonly input: Readable
  readonly producer: Producer
  readonly topic: string
  readonly flags: ProduceFlags
  readonly done: { inputBytes: number; lineBytes: number }
  readonly onBytes: (bytes: number) => void
}

async function produceLines({ input, producer, topic, flags, done, onBytes }: Work): Promise<void> {
  const splitter = new LineSplitter()
  const rule = keyRule(flags)
  const target = flags.partition === undefined ? { topic } : { topic, partition: flags.partition }
  const sendAll = async (lines: Iterable<Buffer>): Promise<void> => {
    for (const line of lines) {
      const { key, value } = keyedLine(line, rule, splitter.lineNumber)
      const hasRoom = producer.enqueue(key ? { ...target, key, value } : { ...target, value })
      done.lineBytes += line.length
      // Only when the buffers are full: no await per line.
      if (!hasRoom) await producer.ready()
    }
  }
  for await (const chunk of ended(input)) {
    await sendAll(splitter.split(chunk))
    done.inputBytes += chunk.length
    onBytes(done.inputBytes)
  }
  await sendAll(splitter.end())
}

interface Input {
  readonly stream: Readable & { readonly isTTY?: boolean }
  readonly totalBytes?: number
}

/** The chunks of a stream; one that was destroyed without an error (the interrupt key) only ends. */
async function* ended(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
}

function openInput(file: string | undefined, context: CliContext): Input {
  if (file !== undefined && file !== '-') {
    const stat = statSync(file)
    if (stat.isDirectory()) throw new UsageError(`${file} is a directory: give a file with one record a line`)
    // Opened now: a stream that opens by itself would fail while nobody listens to it yet.
    const stream = createReadStream(file, { fd: openSync(file, 'r'), highWaterMark: READ_BYTES })
    return stat.isFile() ? { stream, totalBytes: stat.size } : { stream }
  }
  return { stream: context.stdin }
}

function keyRule({ keyField, keySeparator }: ProduceFlags): KeyRule {
  if (keyField !== undefined) return { kind: 'field', number: keyField }
  return keySeparator ? { kind: 'separator', separator: keySeparator } : { kind: 'none' }
}

/** `\t` may be written as such: a shell makes a real tab hard to type. */
function separator(text: string): Buffer {
  if (text === '') throw new InvalidArgumentError('It must not be empty.')
  return Buffer.from(text.replaceAll('\\t', '\t'))
}
