import { posix } from 'node:path'
import type { ImportEdge, SourceFile } from './source-file.ts'

/** Which file imports which, by repository path. */
export class ImportGraph {
  readonly files: ReadonlyMap<string, SourceFile>

  constructor(files: Iterable<SourceFile>) {
    this.files = new Map([...files].map(file => [file.path, file]))
  }

  /** The repository path that a relative import names; undefined for a package. */
  resolve(file: SourceFile, edge: ImportEdge): string | undefined {
    if (!edge.specifier.startsWith('.')) return undefined
    return posix.join(posix.dirname(file.path), edge.specifier)
  }

  importsOf(file: SourceFile): string[] {
    return file.imports.flatMap(edge => this.resolve(file, edge) ?? [])
  }

  /** Imports of files that are not there (the compiler finds most, but not in comments that it ignores). */
  missing(): string[] {
    return [...this.files.values()].flatMap(file =>
      this.importsOf(file)
        .filter(target => /\.m?ts$/.test(target) && !this.files.has(target))
        .map(target => `${file.path} imports ${target}, which does not exist`),
    )
  }

  /** Each cycle once, as `a -> b -> a`, found by depth-first search. */
  cycles(): string[] {
    const found: string[] = []
    const state = new Map<string, 'open' | 'done'>()
    const stack: string[] = []
    const visit = (path: string): void => {
      state.set(path, 'open')
      stack.push(path)
      const file = this.files.get(path)
      for (const target of file ? this.importsOf(file) : []) {
        if (state.get(target) === 'open') {
          found.push([...stack.slice(stack.indexOf(target)), target].join(' -> '))
        } else if (!state.has(target)) {
          visit(target)
        }
      }
      stack.pop()
      state.set(path, 'done')
    }
    for (const path of this.files.keys()) if (!state.has(path)) visit(path)
    return found
  }

  /** Everything that the entry points reach, themselves included. */
  reachableFrom(entries: readonly string[]): Set<string> {
    const reached = new Set<string>()
    const queue = [...entries]
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      const file = this.files.get(path)
      if (!file || reached.has(path)) continue
      reached.add(path)
      queue.push(...this.importsOf(file))
    }
    return reached
  }
}

/** Source files that no entry point reaches: nobody runs them. */
export function deadFiles(
  graph: ImportGraph,
  options: { entries: readonly string[]; exceptions: readonly { readonly path: string }[] },
): string[] {
  const reached = graph.reachableFrom(options.entries)
  return [...graph.files.keys()]
    .filter(path => path.startsWith('src/') && !reached.has(path))
    .filter(path => !options.exceptions.some(exception => path.startsWith(exception.path)))
    .map(path => `${path} is reached from no entry point (${options.entries.join(', ')})`)
}

/**
 * Exported functions, classes and constants of src that no other file takes. Types may stay exported
 * unused: they name the parts of a signature that others do use.
 */
export function deadExports(graph: ImportGraph, entries: readonly string[]): string[] {
  const taken = new Map<string, Set<string>>()
  for (const file of graph.files.values()) {
    for (const edge of file.imports) {
      const target = graph.resolve(file, edge)
      if (!target) continue
      const names = taken.get(target) ?? new Set()
      for (const name of edge.names) names.add(name)
      taken.set(target, names)
    }
  }
  return [...graph.files.values()]
    .filter(file => file.path.startsWith('src/') && !entries.includes(file.path))
    .flatMap(file =>
      file.exports
        .filter(one => !one.isType && !taken.get(file.path)?.has(one.name) && !taken.get(file.path)?.has('*'))
        .map(one => `${file.path}:${one.line}: nobody imports ${one.name}: drop the export, or the code`),
    )
}

/** The sources behind the `exports` of package.json: `./dist/client/index.js` is built from `src/client/index.ts`. */
export function entryPointsOf(packageJson: string): string[] {
  const { exports } = JSON.parse(packageJson) as { exports: Record<string, string | { default: string }> }
  return Object.values(exports).flatMap(target => {
    const name = /^\.\/dist\/(.*)\.js$/.exec(typeof target === 'string' ? target : target.default)?.[1]
    return name === undefined ? [] : [`src/${name}.ts`]
  })
}

/** `@grpc/grpc-js/build/src` -> `@grpc/grpc-js`; `node:fs/promises` -> `node:fs`. */
export function packageOf(specifier: string): string {
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? specifier)
}
