import type { NodeId } from '../base/brands.ts'
import type { PartitionReassignment, PartitionState } from './metadata-record.ts'
import { type ElectionFacts, electable } from './partition-election.ts'

/**
 * Moves of one partition to other replicas, step by step (KIP-455): a state in, the next one out. Pure.
 *
 *   start: replicas = original + added           the added ones copy, and enter the ISR as any replica does
 *   advance: replicas = target                   once all added ones are in sync, and one of the target leads
 *   cancel: replicas = original                  a move back to them, where one that was added leads
 *
 * No step takes members out of the ISR such that it falls below min.insync.replicas, and none leaves a partition without
 * anybody who has what is committed. None deposes a leader: one that is to go hands over by itself (C11), because it could
 * not know otherwise that its lease is over (C12). Where it dies, the election that follows lets the move go on.
 */

/** What is asked for; undefined where members that it removes are still needed. */
export function startReassignment(
  state: PartitionState,
  to: Omit<PartitionReassignment, 'original'>,
  facts: ElectionFacts,
): PartitionState | undefined {
  const original = stayingOf(state, to.target)
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
  const target = originalOf(state)
  return restrict(state, target, facts) ?? startReassignment(state, { target }, facts)
}

/** Who is there until the move to this target is over: a leader that an earlier move has added must hand over first. */
function stayingOf(state: PartitionState, target: readonly NodeId[]): readonly NodeId[] {
  const original = originalOf(state)
  const { leader } = state
  const isStaying = leader === null || original.includes(leader) || target.includes(leader)
  return isStaying ? original : [...original, leader]
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

/** The state with these replicas and no reassignment; undefined: who would go is needed, or leads. */
function restrict(
  state: PartitionState,
  replicas: readonly NodeId[],
  facts: ElectionFacts,
): PartitionState | undefined {
  const { reassignment: _over, ...rest } = state
  const isr = state.isr.filter(nodeId => replicas.includes(nodeId))
  const elr = state.elr.filter(nodeId => replicas.includes(nodeId))
  const { minInsyncReplicas } = facts
  if (state.leader !== null && !replicas.includes(state.leader)) return undefined
  const isShrunk = isr.length < state.isr.length
  if (isShrunk && (isr.length === 0 || isr.length < minInsyncReplicas)) return undefined
  if (isr.length === 0 && elr.length < state.elr.length) return undefined
  return { ...rest, replicas, isr, elr: electable(elr, { isr, minInsyncReplicas }) }
}
