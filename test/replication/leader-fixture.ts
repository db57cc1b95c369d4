import { beforeEach, expect } from 'vitest'
import type { Follow } from '../../src/replication/follow.ts'
import type { FollowerSession } from '../../src/replication/follower-progress.ts'
import type { IsrProposal } from '../../src/replication/in-sync-replicas.ts'
import {
  type LeaderEffect,
  LeaderState,
  type LeaderStateOptions,
} from '../../src/replication/leader-state.ts'
import type { PartitionMetadata } from '../../src/replication/partition-metadata.ts'
import { REPLICA_TIMING } from '../../src/replication/replica-timing.ts'
import { ArrayLog } from './array-log.ts'

/** A leader (node 1 of 1, 2 and 3, in epoch 5) over a log of four records, made anew before each test of the file. */
export const METADATA: PartitionMetadata = {
  replicas: [1, 2, 3],
  isr: [1, 2, 3],
  elr: [],
  leader: 1,
  leaderEpoch: 5,
  partitionEpoch: 10,
  lastUncleanEpoch: null,
}

export let log: ArrayLog
let lastNumber: number
export let ineligible: Set<number>

beforeEach(() => {
  log = ArrayLog.ofEpochs('1122')
  lastNumber = 0
  ineligible = new Set()
})

/** Another log than the one of four records. */
export function useLog(epochs: string): void {
  log = ArrayLog.ofEpochs(epochs)
}

export function lead(
  metadata: Partial<PartitionMetadata> = {},
  options: Partial<LeaderStateOptions> = {},
): LeaderState {
  return new LeaderState({
    self: { nodeId: 1, directoryId: 'd1', nodeEpoch: 1 },
    metadata: { ...METADATA, ...metadata },
    log,
    storedEndOffset: log.logEndOffset,
    minInsyncReplicas: 2,
    writeCaching: false,
    timing: REPLICA_TIMING,
    isEligible: ({ nodeId }) => !ineligible.has(nodeId),
    nowMs: 0,
    ...options,
  })
}

export function session(nodeId: number, heardMs = 0): FollowerSession & { heardMs: number } {
  return { nodeId, directoryId: `d${nodeId}`, nodeEpoch: 1, heardMs }
}

export function follow(state: LeaderState, from: FollowerSession, given: Partial<Follow> = {}) {
  const number = ++lastNumber
  const ask = {
    number,
    leaderEpoch: 5,
    partitionEpoch: state.partitionEpoch,
    fetchOffset: log.logEndOffset,
    lastFetchedEpoch: log.latestEpoch,
    isDamaged: false,
    isFull: false,
    ...given,
  }
  return { number, answer: state.onFollow(ask, from) }
}

/** Follows and acknowledges. */
export function catchUp(state: LeaderState, nodeId: number, endOffset: number, nowMs = 0) {
  const from = session(nodeId, nowMs)
  const { number, answer } = follow(state, from, {
    fetchOffset: Math.min(endOffset, log.logEndOffset),
    lastFetchedEpoch: epochBefore(endOffset),
  })
  expect(answer).toEqual({ kind: 'accepted' })
  return { from, number, effects: state.onAck(from, { number, endOffset }, nowMs) }
}

export function epochBefore(offset: number): number | undefined {
  return log.records[offset - 1]?.epoch
}

export function append(state: LeaderState, count: number, nowMs = 0): void {
  state.onAppend(log.logEndOffset, nowMs)
  for (let at = 0; at < count; at++) log.records.push({ epoch: state.leaderEpoch, value: 'x' })
}

export function proposalOf(effects: readonly LeaderEffect[]): IsrProposal | undefined {
  return effects.flatMap(effect => (effect.type === 'propose' ? [effect.proposal] : []))[0]
}

export function isrOf(effects: readonly LeaderEffect[]): number[] | undefined {
  return proposalOf(effects)?.isr.map(member => member.nodeId)
}
