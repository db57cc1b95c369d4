import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from '../../src/client/index.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import type { Verdict } from './checker/check-history.ts'
import { verdictText } from './checker/report.ts'
import { described } from './faults/leader-faults.ts'
import { RestlessGroup } from './groups/restless-group.ts'
import { ChaosCluster } from './machine/chaos-cluster.ts'
import type { MachineTools } from './machine/machine-tools.ts'
import type { Mixture } from './mixtures.ts'
import { faultsNamed } from './nemesis/all-faults.ts'
import type { Scene } from './nemesis/fault.ts'
import { allInSync } from './nemesis/healing.ts'
import { LeaderWatch } from './nemesis/leader-watch.ts'
import { harass } from './nemesis/nemesis.ts'
import { tell } from './nemesis/stories.ts'
import { Unrest } from './nemesis/unrest.ts'
import { CrashingClient } from './workload/crashing-client.ts'
import { LogWorkload } from './workload/log-workload.ts'
import { RecreatedTopic } from './workload/recreated-topic.ts'
import { ThinClient } from './workload/thin-client.ts'

const TOPIC = 'chaos'
const RECREATED_TOPIC = 'recreated'
const GROUP = 'restless'
const PARTITIONS = 4
/** Several hundred records a second, so that the machine has time left for the faults. */
const SLOWNESS = 6

export interface RoundOptions {
  readonly tools: MachineTools
  readonly mixture: Mixture
  readonly seed: number
  readonly durationMs: number
  /** Another build: its `bin/naru.js`. */
  readonly program?: string | undefined
  /** Where the history and the logs go if something is wrong. Default: nowhere. */
  readonly findingsDirectory?: string
}

export interface RoundResult {
  readonly mixture: Mixture
  readonly seed: number
  readonly elapsedMs: number
  /** Undefined: the round broke off before clients could be judged. */
  readonly verdict: Verdict | undefined
  /** How often each fault struck. */
  readonly faults: ReadonlyMap<string, number>
  /** Of leaders of partitions. */
  readonly elections: number
  readonly longestGapMs: number
  /** Anomalies, nodes that died by themselves, readers that gave up, what did not heal. Empty: all is well. */
  readonly findings: readonly string[]
  readonly story: readonly string[]
}

/**
 * One mixture on a cluster of its own, from its forming to the judgement over what its clients saw. Never rejects: what
 * keeps a cluster from forming, or from being cleared away, is a finding of this round only.
 */
export async function runRound(options: RoundOptions): Promise<RoundResult> {
  const { mixture, seed } = options
  const startMs = performance.now()
  const story: string[] = []
  const note = (text: string) => {
    story.push(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(6)} s  ${text}`)
  }
  const elapsedMs = () => performance.now() - startMs
  try {
    return { ...(await play(options, { story, note })), elapsedMs: elapsedMs() }
  } catch (thrown) {
    const findings = [`broke off: ${errorText(thrown)}`]
    const nothing = { verdict: undefined, faults: new Map(), elections: 0, longestGapMs: 0 }
    return { mixture, seed, ...nothing, findings, story, elapsedMs: elapsedMs() }
  }
}

async function play(
  options: RoundOptions,
  { story, note }: { story: string[]; note: (text: string) => void },
): Promise<Omit<RoundResult, 'elapsedMs'>> {
  const { tools, mixture, seed } = options
  const { preloads, nodeCount } = mixture
  await using cluster = await ChaosCluster.start({
    tools,
    nodeCount,
    program: options.program,
    ...(preloads && { preloads }),
  })
  await using client = await cluster.nodes.connect()
  const admin = client.admin()
  const settings = { 'min.insync.replicas': '2' }
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3, settings }])
  await using workload = await LogWorkload.start(cluster.nodes, {
    topic: TOPIC,
    partitions: PARTITIONS,
    slowness: SLOWNESS,
  })
  const { history } = workload
  await using watch = new LeaderWatch({ admin, topic: TOPIC, history })
  const { addresses } = cluster.nodes
  await using group = await RestlessGroup.start({
    client,
    addresses,
    history,
    topic: TOPIC,
    group: GROUP,
    prng: new SeededPrng(`${seed}/${mixture.name}/members`),
    note,
  })
  const prng = new SeededPrng(`${seed}/${mixture.name}`)
  const scene: Scene = {
    cluster,
    admin,
    workload,
    group,
    prng,
    note,
    unrest: new Unrest(history),
  }
  const findings: string[] = []
  let faults: ReadonlyMap<string, number> = new Map()
  let elections = 0
  let verdict: Verdict | undefined
  try {
    await allInSync(scene)
    faults = await struckBy(scene, client, options)
    for (const one of await described(admin, TOPIC)) elections += one.leaderEpoch
    await workload.stop()
    await group.finish()
    await watch.stop()
    verdict = await workload.finish()
    if (verdict.validity !== 'valid') findings.push(verdictText(verdict))
  } catch (thrown) {
    findings.push(`broke off: ${errorText(thrown)}`)
  }
  findings.push(...workload.readerFailures.map(error => `a reader gave up: ${error.message}`))
  findings.push(...group.failures)
  findings.push(...suddenEnds(cluster))
  const longestGapMs = longestGap(workload.acknowledgedAtMs)
  const result = { mixture, seed, verdict, faults, elections, longestGapMs, findings, story }
  if (findings.length > 0) keep(options, { cluster, workload, group, result })
  return result
}

async function struckBy(
  scene: Scene,
  client: Client,
  { mixture, durationMs, tools }: RoundOptions,
): Promise<Map<string, number>> {
  const { cluster, workload, group, prng } = scene
  const { history } = workload
  const nodes = [...cluster.nodes.nodes].map(([nodeId, { address }]) => ({ nodeId, address }))
  const thinClients = nodes.map(node => new ThinClient(node, RECREATED_TOPIC))
  const crashing = mixture.hasCrashingClients
    ? new CrashingClient({
        history,
        addresses: cluster.nodes.addresses,
        topic: TOPIC,
        partitions: PARTITIONS,
        directory: tools.directory,
        fraction: () => prng.fraction(),
      })
    : undefined
  const recreated = mixture.hasRecreatedTopic
    ? new RecreatedTopic({ client, history, topic: RECREATED_TOPIC, thinClients })
    : undefined
  const counts = new Map<string, number>()
  try {
    if (mixture.story === undefined) {
      const faults = faultsNamed([...new Set(mixture.faults)])
      const { togetherMax, periodMs, mayLeaveOut = false } = mixture
      for (const [name, count] of await harass(scene, {
        faults,
        durationMs,
        togetherMax,
        periodMs,
        isEachOnce: !mayLeaveOut,
      }))
        counts.set(name, count)
    } else counts.set(mixture.story, await tell(mixture.story, scene, durationMs))
  } finally {
    await crashing?.stop()
    await recreated?.stop()
    for (const one of thinClients) one.close()
  }
  if (crashing !== undefined) counts.set('client-crash', crashing.crashes)
  if (recreated !== undefined) counts.set('topic-recreated', recreated.lives)
  for (const [fate, times] of group.fates) counts.set(fate, times)
  return counts
}

/** A node may end by a signal of ours, orderly, or because its disk failed or the cluster refuses it: it says so. */
const EXPECTED_ENDINGS = /disk|EIO|ENOSPC|Input\/output|no space/i

function suddenEnds({ nodes }: ChaosCluster): string[] {
  return [...nodes.nodes].flatMap(([nodeId, { endings }]) =>
    endings
      .filter(({ code, log }) => code !== null && code !== 0 && !EXPECTED_ENDINGS.test(log.join('\n')))
      .map(({ code, log }) => `node ${nodeId} ended with code ${code}:\n    ${log.join('\n    ')}`),
  )
}

function longestGap(acknowledgedAtMs: readonly (readonly number[])[]): number {
  let longest = 0
  for (const times of acknowledgedAtMs)
    for (let at = 1; at < times.length; at++)
      longest = Math.max(longest, (times[at] as number) - (times[at - 1] as number))
  return longest
}

function errorText(thrown: unknown): string {
  const error = thrown as Error
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`
}

interface Kept {
  readonly cluster: ChaosCluster
  readonly workload: LogWorkload
  readonly group: RestlessGroup
  readonly result: { readonly findings: readonly string[]; readonly story: readonly string[] }
}

/** What somebody needs who looks for the cause. */
function keep(
  { findingsDirectory, mixture, seed }: RoundOptions,
  { cluster, workload, group, result }: Kept,
): void {
  if (findingsDirectory === undefined) return
  const directory = join(findingsDirectory, `${mixture.name}-${seed}`)
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'history.jsonl'), workload.history.text())
  writeFileSync(join(directory, 'groups.jsonl'), group.recordText)
  writeFileSync(join(directory, 'story.txt'), [...result.story, '', ...result.findings, ''].join('\n'))
  for (const [nodeId, node] of cluster.nodes.nodes)
    writeFileSync(join(directory, `node-${nodeId}.log`), node.log.join('\n'))
}
