import { join } from 'node:path'
import { run } from '../../test/chaos/machine/machine-tools.ts'
import type { ChaosMutant } from '../../test/chaos/mutants/chaos-mutants.ts'
import { plantTree } from '../planted-tree.ts'

const COPIED = ['src', 'dist', 'bin', 'proto', 'package.json', 'tsconfig.json', 'tsconfig.build.json']

/** A build of the sources with the mutant's passages exchanged, in a directory of its own; the product holds no switch for them. */
export async function buildMutant(
  root: string,
  mutant: ChaosMutant,
): Promise<{ program: string; remove: () => void }> {
  const tree = await plantTree(root, mutant, COPIED)
  try {
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', join(tree.root, 'tsconfig.build.json')])
    return { program: join(tree.root, 'bin/naru.js'), remove: tree.remove }
  } catch (thrown) {
    tree.remove()
    throw thrown
  }
}
