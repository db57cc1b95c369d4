import { mkdtempSync, rmSync } from 'node:fs'
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../test/chaos/machine/machine-tools.ts'
import type { ChaosMutant } from '../../test/chaos/mutants/chaos-mutants.ts'
import { atExit } from '../bench/child-processes.ts'

const COPIED = ['src', 'dist', 'bin', 'proto', 'package.json', 'tsconfig.json', 'tsconfig.build.json']

/**
 * A build of the sources with the mutant's passages exchanged, in a directory of its own; the product holds no switch for
 * them. Its directory is removed also at signals. Throws if a passage is gone: a mutant that changes nothing would prove nothing.
 */
export async function buildMutant(
  root: string,
  { name, edits }: ChaosMutant,
): Promise<{ program: string; remove: () => void }> {
  const tree = mkdtempSync(join(tmpdir(), 'naru-chaos-mutant-'))
  const clear = () => rmSync(tree, { recursive: true, force: true })
  const forget = atExit(clear)
  const remove = () => {
    clear()
    forget()
  }
  try {
    for (const path of COPIED) await cp(join(root, path), join(tree, path), { recursive: true })
    await symlink(join(root, 'node_modules'), join(tree, 'node_modules'))
    for (const [file, passage, replacement] of edits) {
      const path = join(tree, 'src', file)
      const code = await readFile(path, 'utf8')
      if (code.split(passage).length !== 2)
        throw new Error(`"${name}": ${file} does not hold once: ${passage}`)
      await writeFile(
        path,
        code.replace(passage, () => replacement),
      )
    }
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', join(tree, 'tsconfig.build.json')])
    return { program: join(tree, 'bin/naru.js'), remove }
  } catch (thrown) {
    remove()
    throw thrown
  }
}
