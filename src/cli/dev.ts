import { type Command, Option } from 'commander'
import { addOutputOption, type OutputFlags, wholeNumber } from './common-options.ts'
import { addSettingOptions, settingsOfCommand } from './config.ts'
import { type CliContext, say } from './context.ts'
import { DevControlClient } from './dev/dev-control-client.ts'
import { DevDirectory } from './dev/dev-directory.ts'
import type { DevNodeStatus } from './dev/dev-node.ts'
import { DEV_NODES_MAX, DEV_PORT_BASE_MAX, DEV_SETTINGS } from './dev/dev-plan.ts'
import { runDev } from './dev/run-dev.ts'
import { CommandError } from './errors.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { formatJson, formatTable } from './output.ts'

const DATA_DEFAULT = './data'

interface DataFlags {
  readonly data: string
}

interface DevFlags extends DataFlags {
  readonly nodes?: number
  readonly portBase?: number
  readonly fresh?: boolean
}

/** `naru dev`: a cluster of processes on this machine, and from other terminals what hurts and heals it. */
export function addDevCommands(program: Command, context: CliContext): void {
  const dev = addDataOption(program.command('dev'), context)
    .description(
      'run a whole cluster on this machine, and say what to try; other settings hold for all nodes',
    )
    .option(
      '--nodes <count>',
      'how many (default: 3, or as many as the data have)',
      wholeNumber({ min: 1, max: DEV_NODES_MAX }),
    )
    .option(
      '--port-base <port>',
      'first port of node 1: clients +0, HTTP +1, peers +2, the next node +10 (default: 7450)',
      wholeNumber({ min: 1, max: DEV_PORT_BASE_MAX }),
    )
    .addOption(
      new Option('--keep', 'go on with the data of the last cluster (the default)').conflicts('fresh'),
    )
    .option('--fresh', 'begin with an empty cluster: deletes the data of the last one')
  addSettingOptions(dev, DEV_SETTINGS).action(async () => {
    const { settings, given } = settingsOfCommand(dev, context)
    const { data, nodes: nodeCount, portBase, fresh = false } = dev.opts<DevFlags>()
    const directory = new DevDirectory(data)
    await runDev(
      { directory, wish: { nodeCount, portBase, isFresh: fresh }, settings, flags: given },
      context,
    )
  })
  addNodeCommand(dev, context, 'kill', 'end nodes with SIGKILL, as a crash does')
  addNodeCommand(dev, context, 'pause', 'stop nodes with SIGSTOP: to the others they hang')
  addNodeCommand(dev, context, 'resume', 'let paused nodes go on')
  addNodeCommand(dev, context, 'restart', 'start nodes again; one that runs is stopped in order first')
  addStop(dev, context)
  addStatus(dev, context)
}

function addNodeCommand(
  dev: Command,
  context: CliContext,
  action: 'kill' | 'pause' | 'resume' | 'restart',
  description: string,
): void {
  const command = addDataOption(dev.command(`${action} <nodes...>`), context).description(description)
  command.action(async (nodes: string[]) => {
    const nodeIds = nodes.map(wholeNumber({ min: 1 }))
    const client = await running(command, context)
    // One by one, so that each line printed is true even when a later one fails.
    for (const nodeId of nodeIds) say(context.stdout, await client.act(action, nodeId))
  })
}

function addStop(dev: Command, context: CliContext): void {
  const command = addDataOption(dev.command('stop [nodes...]'), context)
  command
    .description('stop nodes in order (SIGTERM); without any, all of them and naru dev')
    .action(async (nodes: string[]) => {
      const nodeIds = nodes.map(wholeNumber({ min: 1 }))
      const client = await running(command, context)
      if (nodeIds.length === 0) say(context.stdout, await client.act('stop'))
      for (const nodeId of nodeIds) say(context.stdout, await client.act('stop', nodeId))
    })
}

function addStatus(dev: Command, context: CliContext): void {
  const command = addOutputOption(addDataOption(dev.command('status'), context))
  command.description('show the nodes, their processes and ports').action(async (flags: OutputFlags) => {
    const nodes = await (await running(command, context)).status()
    if (flags.output === 'json') return say(context.stdout, formatJson(nodes))
    const columns = [
      { title: 'NODE', value: (one: DevNodeStatus) => one.nodeId },
      { title: 'STATE', value: stateText },
      { title: 'PID', value: (one: DevNodeStatus) => one.pid ?? '' },
      { title: 'CLIENTS', value: (one: DevNodeStatus) => one.clientPort },
      { title: 'HTTP', value: (one: DevNodeStatus) => one.httpPort },
      { title: 'PEERS', value: (one: DevNodeStatus) => one.peerPort },
      { title: 'DATA', value: (one: DevNodeStatus) => one.dataDirectory },
    ]
    say(context.stdout, formatTable(columns, nodes))
  })
}

function stateText({ state, detail }: DevNodeStatus): string {
  return detail === undefined ? state : `${state} (${detail})`
}

/** Which of the dev clusters of a machine is meant: the one with its data there. */
function addDataOption(command: Command, context: CliContext): Command {
  return command.option(
    '--data <directory>',
    'directory of the dev cluster',
    context.environment['NARU_DATA_DIR'] || DATA_DEFAULT,
  )
}

async function running(command: Command, context: CliContext): Promise<DevControlClient> {
  // Commander gives a flag that stands after the subcommand to the command that knows it first: `dev`.
  const { data } = command.optsWithGlobals<DataFlags>()
  const client = await DevControlClient.find(new DevDirectory(data))
  if (client) return client
  throw new CommandError(
    `no dev cluster runs in ${data} (start one: ${context.command} dev; one elsewhere: --data DIRECTORY)`,
    EXIT_CODES.notFound,
  )
}
