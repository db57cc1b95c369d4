import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError, UsageError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { DEV_NODES_DEFAULT, DEV_NODES_MAX, DEV_PORT_BASE_DEFAULT, nodeDirectoryName } from './dev-plan.ts'

/** Makes the directory a dev cluster's, and remembers its shape for the next start. */
const MARKER = 'naru-dev.json'
/** There while `naru dev` runs: how other terminals reach it. Left behind only by a kill. */
const CONTROL = 'naru-dev-control.json'
const VERSION = 1

export interface DevShape {
  readonly nodeCount: number
  readonly portBase: number
}

/** How to reach the `naru dev` that runs in a directory: on 127.0.0.1, by whoever can read this file. */
export interface ControlAddress {
  readonly pid: number
  readonly port: number
  readonly token: string
}

/**
 * The data directory of a dev cluster: `naru-dev.json`, and a directory for each node. Only what `naru dev` made is
 * ever deleted, and only where its marker says that it made it.
 */
export class DevDirectory {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Data stay from start to start, so the shape does, too, unless the wish says otherwise. */
  open(wish: { nodeCount?: number | undefined; portBase?: number | undefined; isFresh: boolean }): DevShape {
    const marker = this.#readMarker()
    if (!marker) this.#refuseForeign()
    if (marker && wish.isFresh) this.#empty()
    const known = wish.isFresh ? undefined : marker
    const shape = {
      nodeCount: wish.nodeCount ?? known?.nodeCount ?? DEV_NODES_DEFAULT,
      portBase: wish.portBase ?? marker?.portBase ?? DEV_PORT_BASE_DEFAULT,
    }
    if (known && shape.nodeCount !== known.nodeCount) {
      throw new UsageError(
        `${this.path} holds a dev cluster of ${known.nodeCount} nodes, not ${shape.nodeCount}: leave --nodes away, take another --data, or begin anew with --fresh (deletes the cluster with all its records)`,
      )
    }
    mkdirSync(this.path, { recursive: true })
    this.#replace(MARKER, { version: VERSION, ...shape })
    return shape
  }

  /** Undefined: nothing runs here, or did not end by itself. */
  readControl(): ControlAddress | undefined {
    return this.#read<ControlAddress>(CONTROL)
  }

  /** Only one `naru dev` can: returns whether it is this one. */
  claimControl(address: ControlAddress): boolean {
    const temporary = join(this.path, `${CONTROL}.${address.pid}`)
    writeFileSync(temporary, JSON.stringify(address), { mode: 0o600 })
    try {
      linkSync(temporary, join(this.path, CONTROL))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw error
    } finally {
      rmSync(temporary, { force: true })
    }
  }

  removeControl(): void {
    rmSync(join(this.path, CONTROL), { force: true })
  }

  #readMarker(): DevShape | undefined {
    const marker = this.#read<DevShape & { version: number }>(MARKER)
    if (marker && marker.version !== VERSION) {
      throw new CommandError(
        `${this.path} was made by another release of naru dev: use that one, or another --data`,
        EXIT_CODES.failed,
      )
    }
    return marker
  }

  #refuseForeign(): void {
    const names = this.#names()
    if (names.length === 0) return
    const what = names.includes('node.json')
      ? `${this.path} belongs to a node of naru server (node.json)`
      : `${this.path} is not empty, and nothing in it is of naru dev`
    throw new UsageError(`${what}: give another directory with --data`)
  }

  #empty(): void {
    for (let nodeId = 1; nodeId <= DEV_NODES_MAX; nodeId++) {
      rmSync(join(this.path, nodeDirectoryName(nodeId)), { recursive: true, force: true })
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  #read<T>(name: string): T | undefined {
    try {
      return JSON.parse(readFileSync(join(this.path, name), 'utf8')) as T
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      throw new CommandError(
        `cannot read ${join(this.path, name)}: ${(error as Error).message}`,
        EXIT_CODES.failed,
      )
    }
  }

  #replace(name: string, value: object): void {
    const temporary = join(this.path, `${name}.new`)
    writeFileSync(temporary, `${JSON.stringify(value)}\n`)
    renameSync(temporary, join(this.path, name))
  }
}
