import type { Command } from 'commander'
import type { Recovery } from '../client/index.ts'
import { addConnectionOption, type ConnectionFlags, wholeNumber, withClient } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { CommandError } from './errors.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { formatTable, plural } from './output.ts'
import { isConfirmed } from './question.ts'

interface RecoverFlags extends ConnectionFlags {
  readonly partition?: number
  readonly node?: number
  readonly yes?: boolean
}

/** `naru topics recover`: the one command that may lose committed records, so it shows them first and asks. */
export function addRecover(topics: Command, context: CliContext): void {
  const command = topics
    .command('recover <name>')
    .description(
      'give partitions without a leader one that may lack committed records; shows what is lost, and asks',
    )
    .option('--partition <number>', 'this one only (default: all without a leader)', wholeNumber({ min: 0 }))
    .option('--node <id>', 'who shall lead (default: the replica that has most)', wholeNumber({ min: 0 }))
    .option('--yes', 'do not ask')
  addConnectionOption(command, context).action(async (name: string, flags: RecoverFlags) => {
    const { partition, node: nodeId, yes = false } = flags
    const options = {
      ...(partition !== undefined && { partition }),
      ...(nodeId !== undefined && { nodeId }),
    }
    await withClient(context, flags, async client => {
      const admin = client.admin()
      const planned = await admin.recoverPartitions(name, { ...options, dryRun: true })
      if (planned.length === 0) return say(context.stdout, `topic ${name}: every partition has a leader`)
      say(context.stderr, recoveryText(planned))
      const ready = planned.filter(one => one.nodeId !== undefined)
      if (ready.length === 0)
        throw new CommandError(
          `topic ${name}: no replica of these is alive; start one of the nodes, then try again`,
          EXIT_CODES.tryAgain,
        )
      const question = `Elect these leaders of ${plural(ready.length, 'partition')}? What only others have is lost for good.`
      if (!yes && !(await isConfirmed(context, question)))
        throw new CommandError('nothing was changed (to go on without being asked: --yes)', EXIT_CODES.failed)
      // One by one, so that each line printed is true even when a later one fails.
      for (const { partition: at, nodeId: elected } of ready) {
        await admin.recoverPartitions(name, {
          partition: at,
          ...(elected !== undefined && { nodeId: elected }),
        })
        say(context.stdout, `recovered ${name}-${at} with node ${elected}`)
      }
    })
  })
}

function recoveryText(recoveries: readonly Recovery[]): string {
  const columns = [
    { title: 'PARTITION', value: (one: Recovery) => `${one.topic}-${one.partition}` },
    { title: 'REPLICAS', value: replicasText },
    { title: 'ELECTS', value: (one: Recovery) => one.nodeId ?? 'nobody' },
    { title: 'LOSES', value: lossText },
  ]
  return formatTable(columns, recoveries)
}

/** `1 down, 2 to 100, 3 to 80 (damaged)`: how far each has records. */
function replicasText({ replicas }: Recovery): string {
  return replicas
    .map(({ nodeId, alive, logEndOffset, damaged }) => {
      if (!alive) return `${nodeId} down`
      return `${nodeId} to ${logEndOffset}${damaged ? ' (damaged)' : ''}`
    })
    .join(', ')
}

/** What is known to have been committed and is beyond the log of who is elected; who is down may have had more. */
function lossText({ clean, nodeId, replicas }: Recovery): string {
  if (clean) return 'nothing'
  const elected = replicas.find(one => one.nodeId === nodeId)
  if (elected?.logEndOffset === undefined) return 'not known'
  const committed = Math.max(...replicas.map(one => one.highWatermark ?? 0))
  const lost = Math.max(0, committed - elected.logEndOffset)
  const isSure = replicas.every(one => one.alive)
  if (lost === 0) return isSure ? 'nothing that is known' : 'what only those that are down have'
  return `${isSure ? '' : 'at least '}${plural(lost, 'record')} from ${elected.logEndOffset} on`
}
