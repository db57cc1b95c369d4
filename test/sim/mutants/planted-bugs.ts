import { GROUP_MUTANTS } from '../../groups/group-mutants.ts'
import { PARTITION_MUTANTS } from '../../metadata/partition-mutants.ts'
import { MUTANTS as REPLICATION_MUTANTS } from '../../replication/replication-mutants.ts'
import type { SimulationName } from '../simulations.ts'
import { CLUSTER_MUTANTS } from './cluster-mutants.ts'
import { MEMBER_MUTANTS } from './member-mutants.ts'
import { REPLICA_MUTANTS } from './replica-mutants.ts'

/** A known mistake. The production code holds no switch for it: passages are exchanged in a copy of the sources. */
export interface PlantedBug {
  readonly name: string
  /** What goes wrong with it. */
  readonly harm?: string
  /** File below `src`, passage (found exactly once), replacement. None: the simulation plants it by its name. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
  /** Does nothing wrong: that it is "found" would mean that anything is. */
  readonly isHarmless?: true
}

/** A mistake, and the simulation that is the better microscope for it. */
export interface PlantedIn extends PlantedBug {
  readonly simulation: SimulationName
  readonly seedsMax: number
}

const ISSUE_OF_QUORUM_SEEDS = 500
const SEEDS_MAX = 1_000

/** All of them, in the order in which the report tells of them. */
export const PLANTED_BUGS: readonly PlantedIn[] = [
  ...CLUSTER_MUTANTS.map(bug => planted('cluster', 'raft', bug, ISSUE_OF_QUORUM_SEEDS)),
  ...REPLICA_MUTANTS.map(bug => ({ ...bug, simulation: 'cluster', seedsMax: SEEDS_MAX }) as const),
  ...REPLICATION_MUTANTS.map(bug => planted('replication', 'replication', bug, SEEDS_MAX)),
  ...PARTITION_MUTANTS.map(bug => planted('metadata', 'metadata', bug, SEEDS_MAX)),
  ...MEMBER_MUTANTS.map(bug => ({ ...bug, simulation: 'members', seedsMax: SEEDS_MAX }) as const),
  ...GROUP_MUTANTS.map(bug => planted('groups', 'groups', bug, SEEDS_MAX)),
]

type FolderBug = Omit<PlantedBug, 'edits'> & { readonly edits?: PlantedBug['edits'] }

/** Of a folder's own list, which names files within it. */
function planted(
  simulation: SimulationName,
  folder: string,
  { name, harm, edits = [], isHarmless }: FolderBug,
  seedsMax: number,
): PlantedIn {
  return {
    name,
    simulation,
    seedsMax,
    edits: edits.map(([file, passage, replacement]) => [`${folder}/${file}`, passage, replacement]),
    ...(harm !== undefined && { harm }),
    ...(isHarmless && { isHarmless }),
  }
}
