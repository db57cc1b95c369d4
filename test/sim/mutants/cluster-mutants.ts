import type { Disk } from '../../../src/ports/disk.ts'
import { diskWithoutSnapshotSync } from '../../drivers/raft/forgetful-disk.ts'
import { MUTANTS, type Mutant } from '../../harness/raft-mutants.ts'

/**
 * Known mistakes for the simulation of whole nodes to find: those of the Raft core, and what only shows with a real
 * driver and disk. The production code holds no switch for them: passages are exchanged in a copy of the sources
 * (scripts/sim/mutant-tree.ts), or outputs and disks are wrapped.
 */
export interface ClusterMutant extends Mutant {
  readonly wrapDisk?: (disk: Disk) => Disk
  /** Does nothing wrong: that it is "found" would mean that anything is. */
  readonly isHarmless?: true
}

/**
 * Streams keep the order of what they carry, and an append holds all that its receiver lacks, so on whole nodes none comes
 * late and short. The core's own simulation, where messages overtake each other, finds it (test/raft/mutants.test.ts).
 */
const NEEDS_DISORDER = 'truncation by a shorter append'

export const CLUSTER_MUTANTS: readonly ClusterMutant[] = [
  ...MUTANTS.filter(({ name }) => name !== NEEDS_DISORDER).map(withKeeper),
  {
    name: 'snapshot without directory fsync',
    harm: 'the log behind a snapshot is gone, and after a power cut so is the snapshot',
    edits: [],
    wrapDisk: diskWithoutSnapshotSync,
  },
  {
    name: 'canary: nobody ever promises anything',
    harm: 'it must be found by the first seeds: else the simulation looks at nothing',
    edits: [],
    spoil: output => ({ ...output, sendAfterPersist: [] }),
  },
  {
    name: 'canary: no mistake at all',
    harm: 'it must not be found: else the seeds prove nothing about the others',
    edits: [],
    isHarmless: true,
  },
]

/** The keeper of the membership takes two steps for a replacement: the core's mistake shows only if it takes one. */
function withKeeper(mutant: Mutant): ClusterMutant {
  if (mutant.name !== 'one-entry voter replacement') return mutant
  return {
    ...mutant,
    edits: [
      ...mutant.edits,
      [
        'membership-repair.ts',
        "return { change: { op: 'demote', member: voter }, reason }",
        "return { change: { op: 'promote', member: successor }, reason }",
      ],
    ],
  }
}
