import type { Command } from 'commander'
import { clusterStatus } from './cluster/cluster-status.ts'
import { findings, isHealthy } from './cluster/findings.ts'
import { nodesTable } from './cluster/nodes-table.ts'
import { placesText } from './cluster/partition-places.ts'
import { quorumText } from './cluster/quorum-text.ts'
import { statusText } from './cluster/status-text.ts'
import { addReassign } from './cluster-reassign.ts'
import { addRebalance } from './cluster-rebalance.ts'
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
import { formatJson } from './output.ts'

const DRAIN_SECONDS_MAX = 300

type ShowFlags = ConnectionFlags & OutputFlags

export function addClusterCommands(program: Command, context: CliContext): void {
  const cluster = program
    .command('cluster')
    .description('show the cluster, its nodes and its quorum; change them')
  addStatus(cluster, context)
  addNodes(cluster, context)
  addQuorum(cluster, context)
  addDrain(cluster, context)
  addRemove(cluster, context)
  addRebalance(cluster, context)
  addReassign(cluster, context)
}

function addStatus(cluster: Command, context: CliContext): void {
  const command = cluster
    .command('status')
    .description('health on one screen: controller, nodes, quorum, partitions, and what to do')
    .option('--check', 'exit with 1 unless all is well')
  addOutputOption(addConnectionOption(command, context)).action(
    async (flags: ShowFlags & { check?: boolean }) => {
      const status = await withClient(context, flags, client => clusterStatus(client.admin()))
      const json = () => formatJson({ ...status, findings: findings(status) })
      say(context.stdout, flags.output === 'json' ? json() : statusText(status))
      if (flags.check && !isHealthy(status))
        throw new CommandError('the cluster is not healthy', EXIT_CODES.failed)
    },
  )
}

function addNodes(cluster: Command, context: CliContext): void {
  const command = cluster.command('nodes').description('list the nodes: addresses, state, what they lead')
  addOutputOption(addConnectionOption(command, context)).action(async (flags: ShowFlags) => {
    const { nodes } = await withClient(context, flags, client => client.admin().describeCluster())
    say(context.stdout, flags.output === 'json' ? formatJson(nodes) : nodesTable(nodes))
  })
}

function addQuorum(cluster: Command, context: CliContext): void {
  const quorum = addOutputOption(addConnectionOption(cluster.command('quorum'), context))
    .description('show the nodes that keep the metadata, or change which of them vote')
    .action(async (flags: ShowFlags) => {
      const described = await withClient(context, flags, client => client.admin().describeQuorum())
      say(context.stdout, flags.output === 'json' ? formatJson(described) : quorumText(described))
    })
  const add = addConnectionOption(quorum.command('add <node>'), context)
  add.description('give a node a vote, once it has caught up').action(async (node: string) => {
    const nodeId = nodeIdOf(node)
    const voters = await withClient(context, flagsOf(add), client => client.admin().addVoter(nodeId))
    say(context.stdout, `node ${nodeId} votes now (voters: ${voters.join(', ')})`)
  })
  const remove = addConnectionOption(quorum.command('remove <node>'), context)
  remove
    .description('take the vote from a node; it goes on without one')
    .option('--directory-id <id>', 'which of two voters with this node id (naru cluster quorum shows them)')
    .action(async (node: string, { directoryId }: { directoryId?: string }) => {
      const nodeId = nodeIdOf(node)
      const options = directoryId === undefined ? {} : { directoryId }
      const voters = await withClient(context, flagsOf(remove), client =>
        client.admin().removeVoter(nodeId, options),
      )
      say(context.stdout, `node ${nodeId} votes no more (voters: ${voters.join(', ')})`)
    })
}

function addDrain(cluster: Command, context: CliContext): void {
  const command = cluster
    .command('drain <node>')
    .description('hand over all that a node leads, before it is stopped; its next start ends the drain')
    .option(
      '--timeout <seconds>',
      'how long to try (default: 25)',
      wholeNumber({ min: 1, max: DRAIN_SECONDS_MAX }),
    )
  addConnectionOption(command, context).action(
    async (node: string, flags: ConnectionFlags & { timeout?: number }) => {
      const nodeId = nodeIdOf(node)
      const options = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout * 1000 }
      const remaining = await withClient(context, flags, client => client.admin().drainNode(nodeId, options))
      if (remaining.length > 0) {
        throw new CommandError(
          `node ${nodeId} is draining, but still leads ${placesText(remaining)}: no other replica is in sync; wait for one (naru cluster status), or stop the node and let them be offline`,
          EXIT_CODES.tryAgain,
        )
      }
      say(context.stdout, `node ${nodeId} is drained: it leads nothing and can be stopped`)
    },
  )
}

function addRemove(cluster: Command, context: CliContext): void {
  const command = cluster
    .command('remove <node>')
    .description('forget a node that is gone for good')
    .option('--force', 'also if it still holds replicas: they are placed anew where possible')
  addConnectionOption(command, context).action(
    async (node: string, { force = false, ...flags }: ConnectionFlags & { force?: boolean }) => {
      const nodeId = nodeIdOf(node)
      await withClient(context, flags, client => client.admin().removeNode(nodeId, { force }))
      say(context.stdout, `removed node ${nodeId}`)
    },
  )
}

const nodeIdOf = wholeNumber({ min: 0, max: 2 ** 31 - 1 })

/** Commander gives a flag to the command that knows it first, which is the one above: `quorum`. */
function flagsOf(command: Command): ConnectionFlags {
  return command.optsWithGlobals<ConnectionFlags>()
}
