import type { NodeId } from '../base/brands.ts'
import type { PartitionReassignment, PartitionState } from './metadata-record.ts'
import { type ElectionFacts, electable } from './partition-election.ts'

/**
 * Moves of one partition to other replicas, step by step (KIP-455): a state in, the next one out. Pure.
 *
 *   start: replicas = original + added           the added ones copy, and enter the ISR as any replica does
 *   advance: replicas = target                   once all added ones are in sync
 *   cancel: replicas = original
 *
 * No step takes members out of the ISR such that it falls below min.insync.replicas, and none leaves a partition without
 * anybody who has what is committed.
 */

/** What is asked for; undefined where members that it removes are still needed. */
export function startReassignment(
  state: PartitionState,
  to: Omit<PartitionReassignment, 'original'>,
  facts: ElectionFacts,
): PartitionState | undefined {
  const original = originalOf(state)
  const replicas = [...original, ...to.target.filter(nodeId => !original.includes(nodeId))]
  const restricted = restrict(state, replicas, facts)
  return restricted && { ...restricted, reassignment: { original, ...to } }
}

/** The end of the move, if it has come; else the state as it is. */
export function advanceReassignment(state: PartitionState, facts: ElectionFacts): PartitionState {
  const { reassignment } = state
  if (reassignment === undefined || state.leader === null) return state
  if (!addingReplicas(state).every(nodeId => state.isr.includes(nodeId))) return state
  const restricted = restrict(state, reassignment.target, facts)
  return restricted === undefined || restricted.isr.length === 0 ? state : restricted
}

/** Undefined where those that were added are needed by now. */
export function cancelReassignment(state: PartitionState, facts: ElectionFacts): PartitionState | undefined {
  return restrict(state, originalOf(state), facts)
}

function originalOf(state: PartitionState): readonly NodeId[] {
  return state.reassignment?.original ?? state.replicas
}

/** The replicas that the partition has, or will have. */
export function targetOf(state: PartitionState): readonly NodeId[] {
  return state.reassignment?.target ?? state.replicas
}

export function addingReplicas({ reassignment }: PartitionState): readonly NodeId[] {
  return reassignment?.target.filter(nodeId => !reassignment.original.includes(nodeId)) ?? []
}

export function removingReplicas({ reassignment }: PartitionState): readonly NodeId[] {
  return reassignment?.original.filter(nodeId => !reassignment.target.includes(nodeId)) ?? []
}

export function settledFactor(state: PartitionState): number {
  return Math.min(originalOf(state).length, targetOf(state).length)
}

/** The state with these replicas and no reassignment; undefined: who would go is needed. */
function restrict(
  state: PartitionState,
  replicas: readonly NodeId[],
  facts: ElectionFacts,
): PartitionState | undefined {
  const { reassignment: _over, ...rest } = state
  const isr = state.isr.filter(nodeId => replicas.includes(nodeId))
  const elr = state.elr.filter(nodeId => replicas.includes(nodeId))
  const { minInsyncReplicas, isActive } = facts
  const isShrunk = isr.length < state.isr.length
  if (isShrunk && (isr.length === 0 || isr.length < minInsyncReplicas)) return undefined
  if (isr.length === 0 && elr.length < state.elr.length) return undefined
  const isLed = state.leader === null || isr.includes(state.leader)
  const leader = isLed ? state.leader : replicas.find(nodeId => isr.includes(nodeId) && isActive(nodeId))
  if (leader === undefined) return undefined
  return { ...rest, replicas, isr, elr: electable(elr, { isr, minInsyncReplicas }), leader }
}
