import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Admin, PlannedMove, RebalanceOptions } from '../client/index.ts'
import { plannedText } from './cluster/moves-text.ts'
import {
  addConnectionOption,
  addOutputOption,
  type ConnectionFlags,
  type OutputFlags,
  wholeNumber,
  withClient,
} from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { CommandError } from './errors.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { formatJson, plural } from './output.ts'
import { startProgress } from './progress.ts'
import { isConfirmed } from './question.ts'

const LOOK_MS = 1000

interface RebalanceFlags extends ConnectionFlags, OutputFlags {
  readonly dryRun?: boolean
  readonly evacuate?: number[]
  readonly concurrentMoves?: number
  readonly throttle?: number
  readonly yes?: boolean
}

/**
 * `naru cluster rebalance`: shows the plan, then has the controller start as many moves at a time as were asked for until
 * none is left. Stopped in the middle it leaves what is under way to end by itself; run again, it goes on.
 */
export function addRebalance(cluster: Command, context: CliContext): void {
  const command = cluster
    .command('rebalance')
    .description(
      'spread replicas and leaders evenly over racks and nodes, or take everything off some of them',
    )
    .option('--dry-run', 'only show the moves')
    .option('--evacuate <node>', 'a node that shall hold nothing; may be repeated', nodeIds)
    .option('--concurrent-moves <count>', 'at a time (default: 10)', wholeNumber({ min: 1, max: 1000 }))
    .option('--throttle <bytes>', 'bytes per second that each node may copy', wholeNumber({ min: 1 }))
    .option('--yes', 'do not ask')
  addOutputOption(addConnectionOption(command, context)).action(async (flags: RebalanceFlags) => {
    const { evacuate, concurrentMoves, throttle } = flags
    const options: RebalanceOptions = {
      ...(evacuate && { evacuateNodeIds: evacuate }),
      ...(concurrentMoves !== undefined && { concurrentMovesMax: concurrentMoves }),
      ...(throttle !== undefined && { throttleBytesPerSecond: throttle }),
    }
    await withClient(context, flags, async client => {
      const admin = client.admin()
      const moves = await admin.rebalance({ ...options, dryRun: true })
      if (flags.output === 'json') say(context.stdout, formatJson(moves))
      else say(context.stdout, moves.length === 0 ? 'nothing to move' : plannedText(moves))
      if (flags.dryRun || moves.length === 0) return
      if (!flags.yes && !(await isConfirmed(context, `Start ${plural(moves.length, 'move')}?`)))
        throw new CommandError('nothing was moved (to go on without being asked: --yes)', EXIT_CODES.failed)
      await untilEven(admin, options, moves)
      say(context.stderr, 'all moves are done')
    })
  })
}

async function untilEven(
  admin: Admin,
  options: RebalanceOptions,
  planned: readonly PlannedMove[],
): Promise<void> {
  const total = planned.length
  const progress = startProgress({ label: 'moving', total, format: done => `${done} of ${total}` })
  try {
    for (;;) {
      const waiting = (await admin.rebalance(options)).filter(move => !move.started)
      const underWay = await admin.listReassignments()
      progress.advance(Math.max(0, total - waiting.length - underWay.length))
      if (waiting.length === 0 && underWay.length === 0) return
      await sleep(LOOK_MS)
    }
  } finally {
    progress.stop()
  }
}

function nodeIds(text: string, previous: number[] = []): number[] {
  return [...previous, wholeNumber({ min: 0, max: 2 ** 31 - 1 })(text)]
}
