import type { Command } from 'commander'
import { NaruError } from '../base/errors.ts'
import type { TopicDescription } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  keyValue,
  type OutputFlags,
  repeated,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { formatJson, formatTable, plural } from './output.ts'
import { addRecover } from './topics-recover.ts'

export function addTopicsCommands(program: Command, context: CliContext): void {
  const topics = program.command('topics').description('create, list, describe, alter and delete topics')
  addCreate(topics, context)
  addList(topics, context)
  addDescribe(topics, context)
  addAlter(topics, context)
  addDelete(topics, context)
  addRecover(topics, context)
}

function addCreate(topics: Command, context: CliContext): void {
  const command = topics
    .command('create [name]')
    .description('create a topic')
    .option('--topic <name>', 'the name, as kafka-topics has it')
    .option('--partitions <count>', 'how many (default: num.partitions of the node)', wholeNumber({ min: 1 }))
    .option('--replication-factor <count>', 'copies of each partition', wholeNumber({ min: 1 }))
    .option('--config <key=value>', 'a setting of the topic; may be repeated (docs/settings.md)', keyValue)
    .option('--if-not-exists', 'succeed when the topic exists already')
    .option('--validate-only', 'check everything, create nothing')
  addConnectionOption(command, context).action(async (name: string | undefined, flags: CreateFlags) => {
    const topic = oneName(name, flags.topic)
    await withClient(context, flags, async client => {
      try {
        const spec = {
          name: topic,
          ...(flags.partitions !== undefined && { partitions: flags.partitions }),
          ...(flags.replicationFactor !== undefined && { replicationFactor: flags.replicationFactor }),
          ...(flags.config && { settings: flags.config }),
        }
        await client.admin().createTopics([spec], { validateOnly: flags.validateOnly === true })
        say(context.stdout, flags.validateOnly ? `topic ${topic} can be created` : `created topic ${topic}`)
      } catch (error) {
        if (!flags.ifNotExists || !isReason(error, 'TOPIC_ALREADY_EXISTS')) throw error
        say(context.stdout, `topic ${topic} exists already`)
      }
    })
  })
}

interface CreateFlags extends ConnectionFlags {
  readonly topic?: string
  readonly partitions?: number
  readonly replicationFactor?: number
  readonly config?: Record<string, string>
  readonly ifNotExists?: boolean
  readonly validateOnly?: boolean
}

function addList(topics: Command, context: CliContext): void {
  const command = addOutputOption(
    addConnectionOption(topics.command('list').description('list topics'), context),
  )
  command.action(async (flags: ConnectionFlags & OutputFlags) => {
    const listed = await withClient(context, flags, client => client.admin().listTopics())
    if (flags.output === 'json') return say(context.stdout, formatJson(listed))
    const columns = [
      { title: 'TOPIC', value: (one: (typeof listed)[number]) => one.name },
      { title: 'PARTITIONS', value: (one: (typeof listed)[number]) => one.partitions },
      { title: 'REPLICAS', value: (one: (typeof listed)[number]) => one.replicationFactor },
    ]
    say(context.stdout, formatTable(columns, listed))
  })
}

function addDescribe(topics: Command, context: CliContext): void {
  const command = topics
    .command('describe [names...]')
    .description('show leaders, replicas and settings (of all topics, if none is named)')
    .option('--topic <name>', 'a name, as kafka-topics has it; may be repeated', repeated)
  addOutputOption(addConnectionOption(command, context)).action(
    async (names: string[], flags: ConnectionFlags & OutputFlags & { topic?: string[] }) => {
      const asked = [...names, ...(flags.topic ?? [])]
      const described = await withClient(context, flags, async client => {
        const admin = client.admin()
        return await admin.describeTopics(
          asked.length > 0 ? asked : (await admin.listTopics()).map(one => one.name),
        )
      })
      if (flags.output === 'json') return say(context.stdout, formatJson(described))
      say(context.stdout, described.map(descriptionText).join('\n\n'))
    },
  )
}

function descriptionText(topic: TopicDescription): string {
  const columns = [
    { title: 'PARTITION', value: (one: TopicDescription['partitions'][number]) => one.partition },
    { title: 'LEADER', value: (one: TopicDescription['partitions'][number]) => one.leader ?? 'none' },
    { title: 'EPOCH', value: (one: TopicDescription['partitions'][number]) => one.leaderEpoch },
    { title: 'REPLICAS', value: (one: TopicDescription['partitions'][number]) => one.replicas.join(',') },
    { title: 'IN SYNC', value: (one: TopicDescription['partitions'][number]) => one.isr.join(',') },
  ]
  const changed = topic.settings
    .filter(one => one.source !== 'default')
    .map(one => `${one.name}=${one.value}`)
  const settings = changed.length > 0 ? `, settings ${changed.join(' ')}` : ', default settings'
  const head = `topic ${topic.name}: ${plural(topic.partitions.length, 'partition')}, id ${topic.topicId}${settings}`
  return `${head}\n${formatTable(columns, topic.partitions)}`
}

function addAlter(topics: Command, context: CliContext): void {
  const command = topics
    .command('alter [name]')
    .description('add partitions, or change settings (at once, without a restart)')
    .option('--topic <name>', 'the name, as kafka-topics has it')
    .option('--partitions <count>', 'the new count; it can only grow', wholeNumber({ min: 1 }))
    .option(
      '--replication-factor <count>',
      'copies of each partition; they are moved in the background',
      wholeNumber({ min: 1 }),
    )
    .option('--config <key=value>', 'set a setting; may be repeated', keyValue)
    .option('--delete-config <key>', 'back to the default; may be repeated', repeated)
  addConnectionOption(command, context).action(async (name: string | undefined, flags: AlterFlags) => {
    const topic = oneName(name, flags.topic)
    const { partitions, replicationFactor, config, deleteConfig } = flags
    if ((partitions ?? replicationFactor) === undefined && !config && !deleteConfig) {
      throw new UsageError(
        'nothing to change: give --partitions, --replication-factor, --config or --delete-config',
      )
    }
    await withClient(context, flags, async client => {
      const admin = client.admin()
      // Settings first: they are refused whole or not at all, while added partitions cannot be taken back.
      if (config || deleteConfig) {
        await admin.alterTopicSettings(topic, { set: config ?? {}, remove: deleteConfig ?? [] })
      }
      if (partitions !== undefined) await admin.createPartitions(topic, partitions)
      if (replicationFactor !== undefined) {
        const started = await admin.changeReplicationFactor(topic, replicationFactor)
        say(context.stderr, `${plural(started, 'move')} started (see them: naru cluster reassign --list)`)
      }
    })
    say(context.stdout, `altered topic ${topic}`)
  })
}

interface AlterFlags extends ConnectionFlags {
  readonly topic?: string
  readonly partitions?: number
  readonly replicationFactor?: number
  readonly config?: Record<string, string>
  readonly deleteConfig?: string[]
}

function addDelete(topics: Command, context: CliContext): void {
  const command = topics
    .command('delete [names...]')
    .description('delete topics with all their records')
    .option('--topic <name>', 'a name, as kafka-topics has it; may be repeated', repeated)
    .option('--if-exists', 'succeed when there is no such topic')
  addConnectionOption(command, context).action(
    async (names: string[], flags: ConnectionFlags & { topic?: string[]; ifExists?: boolean }) => {
      const asked = [...names, ...(flags.topic ?? [])]
      if (asked.length === 0) throw new UsageError('name the topic: naru topics delete NAME')
      await withClient(context, flags, async client => {
        // One by one, so that each line printed is true even when a later one fails.
        for (const topic of asked) {
          try {
            await client.admin().deleteTopics([topic])
            say(context.stdout, `deleted topic ${topic}`)
          } catch (error) {
            if (!flags.ifExists || !isReason(error, 'UNKNOWN_TOPIC')) throw error
            say(context.stdout, `topic ${topic} does not exist`)
          }
        }
      })
    },
  )
}

function oneName(argument: string | undefined, flag: string | undefined): string {
  if (argument !== undefined && flag !== undefined && argument !== flag) {
    throw new UsageError(`two names are given, "${argument}" and --topic ${flag}: keep one`)
  }
  const name = argument ?? flag
  if (name === undefined) throw new UsageError('name the topic, as in: naru topics create logs')
  return name
}

function isReason(error: unknown, reason: NaruError['reason']): boolean {
  return error instanceof NaruError && error.reason === reason
}
