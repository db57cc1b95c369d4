import type { PlantedBug } from '../../test/sim/mutants/planted-bugs.ts'
import { type PlantedTree, plantTree } from '../planted-tree.ts'

const COPIED = [
  'src',
  'test/sim',
  'test/harness',
  'test/drivers/raft',
  'test/replication',
  'test/metadata',
  'test/groups',
  'test/chaos',
  'scripts/sim',
  'package.json',
  'tsconfig.json',
]

/** What a simulation needs, with the mutant's passages exchanged. */
export function makeMutantTree(root: string, bug: PlantedBug): Promise<PlantedTree> {
  return plantTree(root, bug, COPIED)
}
