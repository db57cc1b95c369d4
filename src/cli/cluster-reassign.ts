import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Admin, ReplicaAssignment } from '../client/index.ts'
import { underWayText } from './cluster/moves-text.ts'
import { placesText } from './cluster/partition-places.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { UsageError } from './errors.ts'
import { formatJson, plural } from './output.ts'
import { startProgress } from './progress.ts'

const LOOK_MS = 1000

interface ReassignFlags extends ConnectionFlags, OutputFlags {
  readonly throttle?: number
  readonly wait?: boolean
  readonly list?: boolean
  readonly cancel?: boolean
}

/** `naru cluster reassign`: moves partitions to the nodes that a file names, shows the moves under way, or ends them. */
export function addReassign(cluster: Command, context: CliContext): void {
  const command = cluster
    .command('reassign [file]')
    .description(
      'move partitions as a file says: {"partitions": [{"topic": "t", "partition": 0, "replicas": [1, 2]}]}',
    )
    .option('--throttle <bytes>', 'bytes per second that each node may copy', wholeNumber({ min: 1 }))
    .option('--wait', 'until all of them have moved')
    .option('--list', 'show the moves under way')
    .option('--cancel', 'end all moves under way: back to the replicas before')
  addOutputOption(addConnectionOption(command, context)).action(
    async (file: string | undefined, flags: ReassignFlags) => {
      const wishes = [file !== undefined, flags.list, flags.cancel].filter(Boolean)
      if (wishes.length !== 1) throw new UsageError('give one of these: a file, --list, --cancel')
      const assignments = file === undefined ? [] : assignmentsOf(file)
      await withClient(context, flags, async client => {
        const admin = client.admin()
        if (flags.list) return list(admin, context, flags)
        if (flags.cancel) {
          const cancelled = await admin.cancelReassignments()
          return say(context.stdout, `cancelled ${plural(cancelled.length, 'move')}`)
        }
        const { throttle: throttleBytesPerSecond } = flags
        await admin.reassignPartitions(
          assignments,
          throttleBytesPerSecond === undefined ? {} : { throttleBytesPerSecond },
        )
        say(
          context.stdout,
          `moving ${plural(assignments.length, 'partition')} (see them: naru cluster reassign --list)`,
        )
        if (flags.wait) await untilMoved(admin, context, assignments)
      })
    },
  )
}

async function list(admin: Admin, context: CliContext, flags: OutputFlags): Promise<void> {
  const moves = await admin.listReassignments()
  if (flags.output === 'json') return say(context.stdout, formatJson(moves))
  say(context.stdout, moves.length === 0 ? 'nothing is being moved' : underWayText(moves))
}

async function untilMoved(
  admin: Admin,
  context: CliContext,
  assignments: readonly ReplicaAssignment[],
): Promise<void> {
  const wanted = new Set(assignments.map(keyOf))
  const total = assignments.length
  const progress = startProgress({ label: 'moving', total, format: done => `${done} of ${total}` })
  try {
    for (;;) {
      const left = (await admin.listReassignments()).filter(move => wanted.has(keyOf(move)))
      progress.advance(total - left.length)
      if (left.length === 0) break
      await sleep(LOOK_MS)
    }
  } finally {
    progress.stop()
  }
  say(context.stdout, `moved ${placesText(assignments)}`)
}

/** In the form of kafka-reassign-partitions; what else stands there (`version`, `log_dirs`) is passed over. */
function assignmentsOf(file: string): ReplicaAssignment[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(`${file} is no JSON: ${error.message}`)
    throw error
  }
  const { partitions } = (parsed ?? {}) as { partitions?: unknown }
  if (!Array.isArray(partitions) || partitions.length === 0)
    throw new UsageError(
      `${file} names no partitions: {"partitions": [{"topic": ..., "partition": ..., "replicas": [...]}]}`,
    )
  return partitions.map((one: unknown, at) => {
    const { topic, partition, replicas } = (one ?? {}) as Record<string, unknown>
    const isList = Array.isArray(replicas) && replicas.length > 0 && replicas.every(isWhole)
    if (typeof topic !== 'string' || !isWhole(partition) || !isList)
      throw new UsageError(
        `${file}: partitions[${at}] needs a topic, a partition and a list of node ids as replicas`,
      )
    return { topic, partition, replicas: replicas as number[] }
  })
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function keyOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}-${partition}`
}
