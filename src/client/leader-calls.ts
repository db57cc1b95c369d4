import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { delay } from '../ports/clock.ts'
import { errorToFailure, failureToError } from '../wire/failure.ts'
import type { Failure, TopicMetadata } from '../wire/messages.ts'
import { type Connection, mayTryAgain } from './connection.ts'
import type { MetadataCache } from './metadata-cache.ts'

/** What a leader says of one partition. */
export interface PartitionAnswer {
  readonly partition: PartitionId
  readonly failure?: Failure
}

export interface LeaderCalls<Answer extends PartitionAnswer> {
  readonly topic: string
  /** Absent: all. */
  readonly partitions?: readonly PartitionId[] | undefined
  readonly timeoutMs: number
  /** Asking twice is the same as asking once. */
  readonly repeatable: boolean
  /** Asks one node for its partitions; undefined: whichever node takes calls now. */
  readonly ask: (
    nodeId: NodeId | undefined,
    partitions: readonly PartitionId[],
    timeoutMs: number,
  ) => Promise<readonly Answer[]>
  /** For a partition of a call that failed as a whole. */
  readonly failed: (partition: PartitionId, failure: Failure) => Answer
}

/** As many as one request may name. */
const ASKED_MAX = 1_000
const ATTEMPT_MS_MIN = 1_000

/**
 * Asks about partitions of a topic, each at its leader, by the metadata of the moment. What a node did not answer
 * because it leads the partition no longer, or was not there, is asked again until the time is over; the answers are in
 * the order of the partitions, failures of the last attempt included.
 */
export async function askLeaders<Answer extends PartitionAnswer>(
  connection: Connection,
  metadata: MetadataCache,
  calls: LeaderCalls<Answer>,
): Promise<Answer[]> {
  const { clock } = connection
  const endMs = clock.monotonicMs() + calls.timeoutMs
  const backoff = connection.backoff()
  const answers = new Map<PartitionId, Answer>()
  let wanted = calls.partitions
  for (;;) {
    const topic = await metadata.fetch(calls.topic)
    if (topic === undefined) throw unknownTopic(calls.topic)
    wanted ??= topic.partitions.map(one => one.partition)
    const open = wanted.filter(partition => mayChange(answers.get(partition), calls))
    const asked = groupsOf(topic, open).map(({ nodeId, partitions }) =>
      calls
        .ask(nodeId, partitions, attemptMs(calls, endMs - clock.monotonicMs()))
        .catch((thrown: unknown) => {
          const failure = errorToFailure(NaruError.from(thrown))
          return partitions.map(partition => calls.failed(partition, failure))
        }),
    )
    for (const answer of (await Promise.all(asked)).flat()) answers.set(answer.partition, answer)
    const isDone = wanted.every(partition => !mayChange(answers.get(partition), calls))
    const pauseMs = backoff.nextMs()
    if (isDone || clock.monotonicMs() + pauseMs >= endMs)
      return wanted.flatMap(partition => answers.get(partition) ?? [])
    await delay(clock, pauseMs)
  }
}

/** A node that hangs must leave time to ask its successor. */
function attemptMs(
  { repeatable, timeoutMs }: { repeatable: boolean; timeoutMs: number },
  leftMs: number,
): number {
  return repeatable ? Math.min(leftMs, Math.max(ATTEMPT_MS_MIN, timeoutMs / 3)) : leftMs
}

function mayChange(answer: PartitionAnswer | undefined, { repeatable }: { repeatable: boolean }): boolean {
  if (answer === undefined) return true
  if (answer.failure === undefined) return false
  return mayTryAgain(failureToError(answer.failure), repeatable)
}

/** By leader, and not too many at a time. */
function groupsOf(
  topic: TopicMetadata,
  partitions: readonly PartitionId[],
): { nodeId: NodeId | undefined; partitions: PartitionId[] }[] {
  const open = new Map<NodeId | undefined, PartitionId[]>()
  const groups: { nodeId: NodeId | undefined; partitions: PartitionId[] }[] = []
  for (const partition of partitions) {
    const nodeId = topic.partitions[partition]?.leaderId
    let group = open.get(nodeId)
    if (group === undefined || group.length >= ASKED_MAX) {
      group = []
      open.set(nodeId, group)
      groups.push({ nodeId, partitions: group })
    }
    group.push(partition)
  }
  return groups
}

export function noLeader({ topic, partition }: { topic: string; partition: PartitionId }): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `"${topic}" partition ${partition} has no leader now (the logs of the nodes say why)`,
    { details: { topic, partition: String(partition) } },
  )
}

export function unknownTopic(topic: string): NaruError {
  return new NaruError(
    'UNKNOWN_TOPIC',
    `topic "${topic}" does not exist (create it: naru topics create ${topic})`,
    { details: { topic } },
  )
}
