import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { scratchDirectory } from './scratch-directory.ts'

/** A known mistake, as passages of the sources that are exchanged in a copy. */
export interface PlantedEdits {
  readonly name: string
  /** Path below src, a passage that is there once, and what takes its place. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
}

export interface PlantedTree {
  readonly root: string
  readonly remove: () => void
}

/**
 * A copy of these paths of the repository with a mistake planted, for processes to run; gone when this program ends, however
 * it does. Throws if a passage is gone: a mutant that changes nothing would prove nothing.
 */
export async function plantTree(
  from: string,
  { name, edits }: PlantedEdits,
  paths: readonly string[],
): Promise<PlantedTree> {
  const { path: root, remove } = scratchDirectory('naru-mutant-')
  try {
    for (const path of paths) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await cp(join(from, path), join(root, path), { recursive: true })
    }
    await symlink(join(from, 'node_modules'), join(root, 'node_modules'))
    for (const [file, passage, replacement] of edits) {
      const path = join(root, 'src', file)
      const code = await readFile(path, 'utf8')
      if (code.split(passage).length !== 2)
        throw new Error(`"${name}": ${file} does not hold once: ${passage}`)
      await writeFile(
        path,
        code.replace(passage, () => replacement),
      )
    }
    return { root, remove }
  } catch (thrown) {
    remove()
    throw thrown
  }
}
