import { copyFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from '../bench/child-processes.ts'
import { scratchDirectory } from '../scratch-directory.ts'

export interface CompiledTree {
  /** What `SeedPool` forks. */
  readonly worker: string
  readonly remove: () => void
}

/** Of the tree that is compiled. */
const WORKER = 'scripts/sim/seed-worker'

/**
 * What simulations of a tree need, as the plain JavaScript that also runs in production; gone when this program ends, however it
 * does. A loader that compiles on the fly (tsx) keeps the names of functions, which costs a call for each closure that is made:
 * a quarter of all the time of a seed. Types are not checked: that is what `npm run check` is for, and a planted bug may break them.
 */
export async function compileTree(root: string): Promise<CompiledTree> {
  const { path: compiled, remove } = scratchDirectory('naru-sim-')
  try {
    await symlink(join(root, 'node_modules'), join(compiled, 'node_modules'))
    // Says that these are modules, and which release this is.
    await copyFile(join(root, 'package.json'), join(compiled, 'package.json'))
    const project = join(compiled, 'tsconfig.json')
    await writeFile(project, JSON.stringify(projectOf(root, compiled)))
    await runProgram(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project])
    return { worker: join(compiled, `${WORKER}.js`), remove }
  } catch (thrown) {
    remove()
    throw thrown
  }
}

function projectOf(root: string, outDir: string) {
  return {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { noEmit: false, noCheck: true, types: [], rootDir: root, outDir, sourceMap: true },
    // And what it imports.
    files: [join(root, `${WORKER}.ts`)],
    include: [],
  }
}
