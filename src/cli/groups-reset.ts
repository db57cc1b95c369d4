import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import type { ResetOffset, ResetTarget, TopicPartitions } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  repeated,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { formatJson, formatTable, plural } from './output.ts'

interface ResetFlags extends ConnectionFlags, OutputFlags {
  readonly group?: string
  readonly topic?: string[]
  readonly allTopics?: boolean
  readonly toEarliest?: boolean
  readonly toLatest?: boolean
  readonly toCurrent?: boolean
  readonly toOffset?: number
  readonly toDatetime?: number
  readonly shiftBy?: number
  readonly fromFile?: string
  readonly execute?: boolean
  readonly dryRun?: boolean
  readonly export?: boolean
}

/** `naru groups reset-offsets`: flags as kafka-consumer-groups has them; nothing is moved without --execute. */
export function addResetOffsets(groups: Command, context: CliContext): void {
  const command = groups
    .command('reset-offsets [group]')
    .description(
      'move the offsets of a group without members; only shows what would happen, unless --execute is given',
    )
    .option('--group <name>', 'the name, as kafka-consumer-groups has it')
    .option('--topic <name[:partitions]>', 'what to move, as logs or logs:0,2; may be repeated', repeated)
    .option('--all-topics', 'all partitions for which the group has an offset')
    .option('--to-earliest', 'to the oldest record that is kept')
    .option('--to-latest', 'to the end: only what is written from now on')
    .option('--to-current', 'where they are: to look, or to give partitions a first offset')
    .option('--to-offset <offset>', 'to this offset', wholeNumber({ min: 0 }))
    .option(
      '--to-datetime <time>',
      'to the first record of that time or later, as 2026-01-31T08:00:00Z',
      timestamp,
    )
    .option(
      '--shift-by <count>',
      'forward, or backward if negative; stays within what is kept',
      wholeNumber({ min: -(2 ** 53 - 1) }),
    )
    .option('--from-file <file>', 'to the offsets in a file of lines topic,partition,offset')
    .option('--dry-run', 'only show what would happen (the default)')
    .option('--execute', 'do it')
    .option('--export', 'print lines topic,partition,offset for --from-file')
  addOutputOption(addConnectionOption(command, context)).action(
    async (name: string | undefined, flags: ResetFlags) => {
      const group = groupOf(name, flags)
      const target = targetOf(flags)
      const topics = 'offsets' in target ? [] : scopeOf(flags)
      if (flags.execute && flags.dryRun) throw new UsageError('--dry-run and --execute: keep one')
      const dryRun = flags.execute !== true
      const moved = await withClient(context, flags, client =>
        client.groups().resetOffsets(group, target, { topics, dryRun }),
      )
      say(context.stdout, resultText(moved, flags))
      const failed = moved.find(({ error }) => error !== undefined)
      const count = moved.filter(({ error }) => error === undefined).length
      if (dryRun)
        say(context.stderr, `${plural(count, 'offset')} would be moved (nothing is done without --execute)`)
      else say(context.stderr, `moved ${plural(count, 'offset')} of group ${group}`)
      if (failed?.error !== undefined) throw failed.error
    },
  )
}

function groupOf(name: string | undefined, { group }: ResetFlags): string {
  if (name !== undefined && group !== undefined && name !== group)
    throw new UsageError(`two names are given, "${name}" and --group ${group}: keep one`)
  const found = name ?? group
  if (found === undefined) throw new UsageError('name the group: naru groups reset-offsets NAME')
  return found
}

function targetOf(flags: ResetFlags): ResetTarget {
  const given: (ResetTarget | undefined)[] = [
    flags.toEarliest ? { to: 'earliest' } : undefined,
    flags.toLatest ? { to: 'latest' } : undefined,
    flags.toCurrent ? { to: 'committed' } : undefined,
    flags.toOffset === undefined ? undefined : { to: { offset: flags.toOffset } },
    flags.toDatetime === undefined ? undefined : { to: { timestampMs: flags.toDatetime } },
    flags.shiftBy === undefined ? undefined : { shiftBy: flags.shiftBy },
    flags.fromFile === undefined ? undefined : { offsets: offsetsOf(flags.fromFile) },
  ]
  const [target, ...more] = given.filter(one => one !== undefined)
  if (target !== undefined && more.length === 0) return target
  throw new UsageError(
    'say where to, once: --to-earliest, --to-latest, --to-current, --to-offset, --to-datetime, --shift-by or --from-file',
  )
}

/** What is moved is said, so that nothing is moved that was not thought of. */
function scopeOf({ topic = [], allTopics }: ResetFlags): TopicPartitions[] {
  if (topic.length > 0 === (allTopics === true))
    throw new UsageError('say what to move: --topic NAME, or --all-topics')
  return topic.map(text => {
    const [name = '', list, ...rest] = text.split(':')
    if (list === undefined) return { topic: name }
    const partitions = list.split(',').map(one => (/^\d+$/.test(one) ? Number(one) : Number.NaN))
    if (name === '' || rest.length > 0 || !partitions.every(Number.isSafeInteger))
      throw new UsageError(`--topic ${text} is not a topic, as logs, or partitions of one, as logs:0,2`)
    return { topic: name, partitions }
  })
}

/** In the form of kafka-consumer-groups: `topic,partition,offset`, a line each. */
function offsetsOf(file: string): { topic: string; partition: number; nextOffset: number }[] {
  const lines = readFileSync(file, 'utf8').split(/\r?\n/)
  const offsets = lines.flatMap((line, index) => {
    if (line.trim() === '') return []
    const [, topic, partition, offset] = /^"?([a-zA-Z0-9._-]+)"?\s*,\s*(\d+)\s*,\s*(\d+)\s*$/.exec(line) ?? []
    if (topic === undefined)
      throw new UsageError(
        `${file}:${index + 1} is not topic,partition,offset: ${JSON.stringify(line.slice(0, 60))}`,
      )
    return [{ topic, partition: Number(partition), nextOffset: Number(offset) }]
  })
  if (offsets.length === 0) throw new UsageError(`${file} holds no lines topic,partition,offset`)
  return offsets
}

function resultText(moved: readonly ResetOffset[], flags: ResetFlags): string {
  if (flags.export)
    return moved
      .filter(({ after }) => after !== undefined)
      .map(({ topic, partition, after }) => `${topic},${partition},${after}`)
      .join('\n')
  if (flags.output === 'json')
    return formatJson(
      moved.map(({ error, ...one }) =>
        error === undefined ? one : { ...one, error: `${error.reason}: ${error.message}` },
      ),
    )
  if (moved.length === 0) return 'no offsets to move'
  const columns = [
    { title: 'TOPIC', value: (one: ResetOffset) => one.topic },
    { title: 'PARTITION', value: (one: ResetOffset) => one.partition },
    { title: 'OFFSET', value: (one: ResetOffset) => one.before ?? '-' },
    { title: 'NEW OFFSET', value: (one: ResetOffset) => one.after ?? one.error?.reason ?? '-' },
  ]
  return formatTable(columns, moved)
}

function timestamp(text: string): number {
  const timestampMs = /^\d{4}-\d{2}-\d{2}([T ]|$)/.test(text) ? Date.parse(text) : Number.NaN
  if (timestampMs >= 0) return timestampMs
  throw new InvalidArgumentError(
    'It must be a time, as 2026-01-31T08:00:00Z, or without Z in the zone of this machine.',
  )
}
