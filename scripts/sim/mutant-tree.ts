import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PlantedBug } from '../../test/sim/mutants/planted-bugs.ts'

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

/**
 * A copy of the sources with the mutant's passages exchanged, for processes to run. Throws if a passage is gone: a mutant
 * that changes nothing would prove nothing.
 */
export async function makeMutantTree(
  root: string,
  { name, edits }: PlantedBug,
): Promise<{ root: string; remove: () => Promise<void> }> {
  const tree = await mkdtemp(join(tmpdir(), 'naru-mutant-'))
  await mkdir(join(tree, 'test/drivers'), { recursive: true })
  await mkdir(join(tree, 'scripts'), { recursive: true })
  for (const path of COPIED) await cp(join(root, path), join(tree, path), { recursive: true })
  await symlink(join(root, 'node_modules'), join(tree, 'node_modules'))
  for (const [file, passage, replacement] of edits) {
    const path = join(tree, 'src', file)
    const code = await readFile(path, 'utf8')
    if (code.split(passage).length !== 2) throw new Error(`"${name}": ${file} does not hold once: ${passage}`)
    await writeFile(
      path,
      code.replace(passage, () => replacement),
    )
  }
  return { root: tree, remove: () => rm(tree, { recursive: true, force: true }) }
}
