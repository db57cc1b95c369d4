import { DiskError } from '../../src/ports/disk.ts'
import type { SeededPrng } from './seeded-prng.ts'
import { SimFileContent } from './sim-disk-file.ts'

export type SimNode = SimFileNode | SimDirectory

export interface SimFileNode {
  readonly kind: 'file'
  readonly content: SimFileContent
  modifiedWallMs: number
}

export interface SimDirectory {
  readonly kind: 'directory'
  readonly entries: Map<string, SimNode>
  modifiedWallMs: number
}

/** A change of names that no directory sync has covered yet. */
interface NameChange {
  readonly node: SimNode
  /** Directories of which a sync makes it durable. */
  readonly directories: readonly SimDirectory[]
  apply(durable: DurableNames): void
}

type DurableNames = Map<SimDirectory, Map<string, SimNode>>

/**
 * The names of a simulated disk: what lookups see, and what a power cut would leave. A change of names is
 * durable once a directory it touches was synced; before that it may or may not have happened, each one by
 * itself (harsher than a journal, which keeps their order). A rename is one change: never both or neither name.
 */
export class SimNames {
  root: SimDirectory = directory(0)
  /** Entries per directory that would survive a power cut right now, without the pending changes. */
  #durable: DurableNames = new Map([[this.root, new Map()]])
  #pending: NameChange[] = []

  get hasUnsynced(): boolean {
    return this.#pending.length > 0
  }

  find(path: string): SimNode | undefined {
    let node: SimNode | undefined = this.root
    for (const name of split(path)) {
      if (node?.kind !== 'directory') return undefined
      node = node.entries.get(name)
    }
    return node
  }

  /** What the directory would hold after a power cut now that undoes all that no directory sync has covered. */
  durableEntries(path: string): ReadonlyMap<string, SimNode> {
    let entries = this.#durable.get(this.root) ?? new Map<string, SimNode>()
    for (const name of split(path)) {
      const node = entries.get(name)
      if (node?.kind !== 'directory') return new Map()
      entries = this.#durable.get(node) ?? new Map<string, SimNode>()
    }
    return entries
  }

  /** The directory that holds (or would hold) the last name of the path. */
  parent(path: string, operation: string): { directory: SimDirectory; name: string } {
    const names = split(path)
    const name = names.pop()
    if (name === undefined) throw new DiskError('OTHER', path, operation, new Error('it is the root'))
    const parent = this.find(names.join('/'))
    if (!parent) throw new DiskError('ENOENT', path, operation)
    if (parent.kind !== 'directory') throw new DiskError('ENOTDIR', path, operation)
    return { directory: parent, name }
  }

  add(parent: SimDirectory, name: string, node: SimNode): void {
    parent.entries.set(name, node)
    if (node.kind === 'directory') this.#durable.set(node, new Map())
    this.#pending.push({
      node,
      directories: [parent],
      apply: durable => durable.get(parent)?.set(name, node),
    })
  }

  remove(parent: SimDirectory, name: string): void {
    const node = parent.entries.get(name) as SimNode
    parent.entries.delete(name)
    this.#pending.push({
      node,
      directories: [parent],
      apply: durable => {
        const names = durable.get(parent)
        if (names?.get(name) === node) names?.delete(name)
      },
    })
  }

  rename(
    from: { directory: SimDirectory; name: string },
    to: { directory: SimDirectory; name: string },
  ): void {
    const node = from.directory.entries.get(from.name) as SimNode
    from.directory.entries.delete(from.name)
    to.directory.entries.set(to.name, node)
    this.#pending.push({
      node,
      directories: [from.directory, to.directory],
      apply: durable => {
        const source = durable.get(from.directory)
        if (source?.get(from.name) === node) source.delete(from.name)
        durable.get(to.directory)?.set(to.name, node)
      },
    })
  }

  /**
   * Commits the pending changes of the directory, and whatever happened before them to the same files: a file
   * that moved here for good must not be found at its old, never synced, name as well.
   */
  sync(directory: SimDirectory): void {
    const moved = new Set<SimNode>()
    const isCommitted = this.#pending
      .toReversed()
      .map(change => {
        const commits = change.directories.includes(directory) || moved.has(change.node)
        if (commits) moved.add(change.node)
        return commits
      })
      .reverse()
    for (const [index, change] of this.#pending.entries()) if (isCommitted[index]) change.apply(this.#durable)
    this.#pending = this.#pending.filter((_, index) => !isCommitted[index])
  }

  /** Another disk is put in its place. */
  wipe(): void {
    this.root = directory(0)
    this.#durable = new Map([[this.root, new Map()]])
    this.#pending = []
  }

  /** Power is cut: durable names, each pending change by the toss of a coin, and the bytes of what is left. */
  crash(prng: SeededPrng): void {
    for (const change of this.#pending) if (prng.chance(0.5)) change.apply(this.#durable)
    this.#pending = []
    const seen: DurableNames = new Map()
    this.#restore(this.root, prng, seen)
    this.#durable = seen
  }

  *files(from: SimDirectory = this.root): Iterable<SimFileNode> {
    for (const node of from.entries.values()) {
      if (node.kind === 'file') yield node
      else yield* this.files(node)
    }
  }

  #restore(directory: SimDirectory, prng: SeededPrng, seen: DurableNames): void {
    const names = this.#durable.get(directory) ?? new Map<string, SimNode>()
    seen.set(directory, names)
    directory.entries.clear()
    for (const [name, node] of names) {
      directory.entries.set(name, node)
      if (node.kind === 'file') node.content.crash(prng)
      else this.#restore(node, prng, seen)
    }
  }
}

export function file(modifiedWallMs: number): SimFileNode {
  return { kind: 'file', content: new SimFileContent(), modifiedWallMs }
}

export function directory(modifiedWallMs: number): SimDirectory {
  return { kind: 'directory', entries: new Map(), modifiedWallMs }
}

function split(path: string): string[] {
  return path.split('/').filter(name => name !== '' && name !== '.')
}
