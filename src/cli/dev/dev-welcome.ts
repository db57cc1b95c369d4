import { BOOTSTRAP_DEFAULT } from '../common-options.ts'
import type { CliContext } from '../context.ts'
import { formatTable, plural } from '../output.ts'
import { addressOf, type DevNodePlan, type DevPlan } from './dev-plan.ts'

/** What is printed when all nodes are ready: where they are, and what to try next. */
export function welcome(facts: { plan: DevPlan; context: CliContext; readyMs: number }): string {
  const { plan, context, readyMs } = facts
  const { host, nodes } = plan
  const columns = [
    { title: '  NODE', value: (one: DevNodePlan) => `  ${one.nodeId}` },
    { title: 'CLIENTS (gRPC)', value: (one: DevNodePlan) => addressOf(host, one.clientPort) },
    { title: 'HTTP', value: (one: DevNodePlan) => `http://${addressOf(host, one.httpPort)}` },
    { title: 'PEERS', value: (one: DevNodePlan) => addressOf(host, one.peerPort) },
    { title: 'DATA', value: (one: DevNodePlan) => one.dataDirectory },
  ]
  const hints = nodes.length > 1 ? clusterHints(nodes.length) : SINGLE_HINTS
  return `Naru is running: ${plural(nodes.length, 'node')}, ready after ${(readyMs / 1000).toFixed(1)} s. Ctrl-C stops it, the data stay.

${formatTable(columns, nodes)}

Try in another terminal:

${[...bootstrapHint(plan), ...hints.map(hint => `${context.command} ${hint}`)].map(line => `  ${line}\n`).join('')}`
}

/** With all nodes, since any of them may be the one that is killed next. */
function bootstrapHint({ host, nodes }: DevPlan): string[] {
  const addresses = nodes.map(node => addressOf(host, node.clientPort)).join(',')
  return addresses === BOOTSTRAP_DEFAULT ? [] : [`export NARU_BOOTSTRAP=${addresses}`]
}

function clusterHints(nodeCount: number): string[] {
  return [
    `topics create test --partitions 20 --replication-factor ${Math.min(3, nodeCount)}`,
    'cluster status',
    'dev kill 2',
  ]
}

const SINGLE_HINTS = [
  'topics create logs --partitions 3',
  'produce logs --file FILE',
  'consume logs --from-beginning --until-end',
]
