import type { Command } from 'commander'
import { NaruError } from '../base/errors.ts'
import type { GroupDescription, GroupListing, GroupMember, GroupOffset } from '../client/index.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  repeated,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { addResetOffsets } from './groups-reset.ts'
import { formatJson, formatTable, plural } from './output.ts'

export function addGroupsCommands(program: Command, context: CliContext): void {
  const groups = program
    .command('groups')
    .description('list and describe consumer groups, move their offsets, delete them')
  addList(groups, context)
  addDescribe(groups, context)
  addResetOffsets(groups, context)
  addDelete(groups, context)
}

function addList(groups: Command, context: CliContext): void {
  const command = groups.command('list').description('list groups and their coordinators')
  addOutputOption(addConnectionOption(command, context)).action(
    async (flags: ConnectionFlags & OutputFlags) => {
      const listed = await withClient(context, flags, client => client.groups().list())
      for (const { partition, error } of listed.missing)
        say(context.stderr, `naru: groups of coordinator ${partition} are missing: ${error.message}`)
      if (flags.output === 'json') say(context.stdout, formatJson(listed.groups))
      else say(context.stdout, listText(listed.groups))
      const [missing] = listed.missing
      if (missing !== undefined) throw missing.error
    },
  )
}

function listText(groups: readonly GroupListing[]): string {
  if (groups.length === 0) return 'no groups'
  const columns = [
    { title: 'GROUP', value: (one: GroupListing) => one.group },
    { title: 'STATE', value: (one: GroupListing) => one.state },
    { title: 'MEMBERS', value: (one: GroupListing) => one.members },
    { title: 'COORDINATOR', value: (one: GroupListing) => one.coordinator },
  ]
  return formatTable(columns, groups)
}

function addDescribe(groups: Command, context: CliContext): void {
  const command = groups
    .command('describe [names...]')
    .description('show members, offsets and lag (of all groups, if none is named)')
    .option('--group <name>', 'a name, as kafka-consumer-groups has it; may be repeated', repeated)
  addOutputOption(addConnectionOption(command, context)).action(
    async (names: string[], flags: ConnectionFlags & OutputFlags & { group?: string[] }) => {
      const asked = [...names, ...(flags.group ?? [])]
      const described = await withClient(context, flags, async client => {
        const admin = client.groups()
        const wanted = asked.length > 0 ? asked : (await admin.list()).groups.map(({ group }) => group)
        const found: GroupDescription[] = []
        for (const name of wanted) found.push(await admin.describe(name))
        return found
      })
      if (flags.output === 'json') return say(context.stdout, formatJson(described))
      say(context.stdout, described.length === 0 ? 'no groups' : described.map(groupText).join('\n\n'))
    },
  )
}

function groupText(group: GroupDescription): string {
  const { state, assignor, coordinator, members, offsets } = group
  const head = `group ${group.group}: ${state}, ${plural(members.length, 'member')}, assignor ${assignor}, coordinator ${coordinator}`
  const parts = [head]
  if (offsets.length > 0) parts.push(formatTable(OFFSET_COLUMNS, offsets))
  if (members.length > 0) parts.push(formatTable(MEMBER_COLUMNS, members))
  return parts.join('\n')
}

const OFFSET_COLUMNS = [
  { title: 'TOPIC', value: (one: GroupOffset) => one.topic },
  { title: 'PARTITION', value: (one: GroupOffset) => one.partition },
  { title: 'OFFSET', value: (one: GroupOffset) => one.nextOffset ?? '-' },
  { title: 'END', value: (one: GroupOffset) => one.highWatermark ?? '-' },
  { title: 'LAG', value: (one: GroupOffset) => one.lag ?? '-' },
  { title: 'MEMBER', value: (one: GroupOffset) => one.member ?? '-' },
]

const MEMBER_COLUMNS = [
  { title: 'MEMBER', value: (one: GroupMember) => one.member },
  { title: 'CLIENT', value: (one: GroupMember) => one.clientId || '-' },
  { title: 'ADDRESS', value: (one: GroupMember) => one.address || '-' },
  { title: 'PARTITIONS', value: (one: GroupMember) => one.assigned.length },
  { title: 'TARGET', value: (one: GroupMember) => one.target.length },
  { title: 'STREAM', value: (one: GroupMember) => (one.disconnected ? 'broken' : 'open') },
]

function addDelete(groups: Command, context: CliContext): void {
  const command = groups
    .command('delete [names...]')
    .description('delete groups without members, with their offsets')
    .option('--group <name>', 'a name, as kafka-consumer-groups has it; may be repeated', repeated)
    .option('--if-exists', 'succeed when there is no such group')
  addConnectionOption(command, context).action(
    async (names: string[], flags: ConnectionFlags & { group?: string[]; ifExists?: boolean }) => {
      const asked = [...names, ...(flags.group ?? [])]
      if (asked.length === 0) throw new UsageError('name the group: naru groups delete NAME')
      await withClient(context, flags, async client => {
        // One by one, so that each line printed is true even when a later one fails.
        for (const group of asked) {
          try {
            await client.groups().delete(group)
            say(context.stdout, `deleted group ${group}`)
          } catch (error) {
            const isAbsent = error instanceof NaruError && error.reason === 'UNKNOWN_GROUP'
            if (!flags.ifExists || !isAbsent) throw error
            say(context.stdout, `group ${group} does not exist`)
          }
        }
      })
    },
  )
}
