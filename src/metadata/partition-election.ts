import type { NodeId, PartitionId, Uuid } from '../base/brands.ts'
import type { PartitionChangedRecord, PartitionState } from './metadata-record.ts'

/**
 * Who is in sync and who leads a partition after nodes came or went (KIP-966, rules A1, C6, C10). Pure: a
 * partition and the facts in, the record that changes it out.
 *
 * Only members of the ISR, then of the ELR, hold every committed record, so only they are elected; first those that
 * are not about to stop. One that is hands over as soon as another is in sync. With `unclean.leader.election.enable`
 * any active replica is elected, once none of those can be, and the epoch is kept as unclean.
 */
export interface ElectionFacts {
  /** May lead and be in an ISR. */
  readonly isActive: (nodeId: NodeId) => boolean
  /** Active, or draining. */
  readonly isUp: (nodeId: NodeId) => boolean
  readonly minInsyncReplicas: number
  readonly isUncleanAllowed: boolean
}

/**
 * Takes nodes out of the ISR and elects another leader if one of them led. `keepsRecords` says whether they
 * still hold what they acknowledged: then they stay electable as ELR while the ISR is below its minimum.
 */
export function removeFromIsr(
  state: PartitionState,
  removal: { isRemoved: (nodeId: NodeId) => boolean; keepsRecords: boolean },
  facts: ElectionFacts,
): PartitionState {
  const { isRemoved, keepsRecords } = removal
  const isr = state.isr.filter(node => !isRemoved(node))
  const left = state.isr.filter(isRemoved)
  const elr = keepsRecords ? [...state.elr, ...left] : state.elr.filter(node => !isRemoved(node))
  const isLed = state.leader !== null && !isRemoved(state.leader)
  const remaining: PartitionState = {
    ...state,
    isr,
    elr: electable(elr, { isr, minInsyncReplicas: facts.minInsyncReplicas }),
    leader: isLed ? state.leader : null,
  }
  return isLed ? remaining : elect(remaining, facts)
}

/** Elects a leader for a partition that has none; unchanged if nobody may lead. */
export function elect(state: PartitionState, facts: ElectionFacts): PartitionState {
  if (state.leader !== null) return state
  const active = state.replicas.filter(facts.isActive)
  const holder = firstHolder(state, active) ?? firstHolder(state, state.replicas.filter(facts.isUp))
  if (holder !== undefined) {
    if (state.isr.includes(holder)) return { ...state, leader: holder }
    const isr = [holder]
    // Members of the ISR that do not run keep what they have: they stay electable with the rest.
    const elr = [...state.elr, ...state.isr].filter(node => node !== holder)
    return {
      ...state,
      leader: holder,
      isr,
      elr: electable(elr, { isr, minInsyncReplicas: facts.minInsyncReplicas }),
    }
  }
  const last = facts.isUncleanAllowed ? active[0] : undefined
  if (last === undefined) return state
  // The leader epoch it begins is known only once the change is written down: `changeRecord` fills it in.
  return { ...state, leader: last, isr: [last], elr: [], lastUncleanEpoch: state.leaderEpoch + 1 }
}

/** Of those that have all that is committed: in sync before eligible, then in order. */
function firstHolder({ isr, elr }: PartitionState, candidates: readonly NodeId[]): NodeId | undefined {
  return candidates.find(node => isr.includes(node)) ?? candidates.find(node => elr.includes(node))
}

/** ELR members that remain so: none once the ISR has its minimum, because the high watermark moves on then. */
export function electable(
  elr: readonly NodeId[],
  of: { isr: readonly NodeId[]; minInsyncReplicas: number },
): readonly NodeId[] {
  return of.isr.length >= of.minInsyncReplicas ? [] : elr
}

/** The record that turns one state into the other, undefined if they are equal. A change of leader is a new epoch. */
export function changeRecord(
  of: { topicId: Uuid; partition: PartitionId },
  change: { before: PartitionState; after: PartitionState },
): PartitionChangedRecord | undefined {
  const { before, after } = change
  const fields: Omit<Partial<PartitionChangedRecord>, 'type' | 'version' | 'partitionEpoch'> = {
    ...(isSameList(before.replicas, after.replicas) ? {} : { replicas: after.replicas }),
    ...(isSameList(before.isr, after.isr) ? {} : { isr: after.isr }),
    ...(isSameList(before.elr, after.elr) ? {} : { elr: after.elr }),
    ...(before.leader === after.leader ? {} : { leader: after.leader, leaderEpoch: before.leaderEpoch + 1 }),
    ...(before.lastUncleanEpoch === after.lastUncleanEpoch
      ? {}
      : { lastUncleanEpoch: after.lastUncleanEpoch }),
    ...(before.reassignment === after.reassignment ? {} : { reassignment: after.reassignment ?? null }),
  }
  if (Object.keys(fields).length === 0) return undefined
  const { topicId, partition } = of
  const partitionEpoch = before.partitionEpoch + 1
  return { type: 'partitionChanged', version: 0, topicId, partition, ...fields, partitionEpoch }
}

function isSameList(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node, index) => node === b[index])
}
