import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SourceFile } from './source-file.ts'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

/** What is built, installed or made by running the tests. Names that are meant at the top only start with '/'. */
const IGNORED = new Set(['/.git', '/data', '/results', 'node_modules', 'dist', 'target', '__pycache__'])

/** All files of the repository, relative to it, sorted. */
export function repositoryFiles(directory = REPOSITORY): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .flatMap(entry => {
      const path = join(directory, entry.name)
      const name = relative(REPOSITORY, path).split(sep).join('/')
      if (IGNORED.has(entry.name) || IGNORED.has(`/${name}`)) return []
      if (entry.isDirectory()) return repositoryFiles(path)
      return entry.isFile() ? [name] : []
    })
    .sort()
}

export function readRepositoryFile(path: string): string {
  return readFileSync(join(REPOSITORY, path), 'utf8')
}

export function sourceFiles(): SourceFile[] {
  return repositoryFiles()
    .filter(path => /^(src|test|scripts|\.ci)\/.*\.(ts|mjs)$/.test(path))
    .map(path => new SourceFile(path, readRepositoryFile(path)))
}
