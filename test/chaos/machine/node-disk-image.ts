import { closeSync, ftruncateSync, openSync, statfsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './machine-tools.ts'

/** Sparse: it takes what is written. */
const IMAGE_BYTES = 1536 * 2 ** 20
const FILLER = 'filler'

/** A small ext4 file system of one node in a file, whose power can be cut. */
export class NodeDiskImage {
  readonly directory: string
  readonly #image: string
  readonly #cutPower: string

  private constructor(directory: string, image: string, cutPower: string) {
    this.directory = directory
    this.#image = image
    this.#cutPower = cutPower
  }

  static async make(parent: string, name: string, cutPower: string): Promise<NodeDiskImage> {
    const directory = join(parent, name)
    const image = join(parent, `${name}.ext4`)
    await mkdir(directory)
    const file = openSync(image, 'w')
    ftruncateSync(file, IMAGE_BYTES)
    closeSync(file)
    await run('mkfs.ext4', ['-q', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1', image])
    await run('mount', ['-o', 'loop', image, directory])
    return new NodeDiskImage(directory, image, cutPower)
  }

  /** From now on nothing reaches the device; what was not synced is gone after `powerOn`. */
  async cutPower(): Promise<void> {
    await run(this.#cutPower, [this.directory])
  }

  /** Every process that used it is gone. */
  async powerOn(): Promise<void> {
    await run('umount', [this.directory])
    await run('mount', ['-o', 'loop', this.#image, this.directory])
  }

  async dispose(): Promise<void> {
    await run('umount', [this.directory])
  }

  /** Leaves this many bytes free. */
  async fill(leftBytes: number): Promise<void> {
    const { bavail, bsize } = statfsSync(this.directory)
    const length = Math.max(0, bavail * bsize - leftBytes)
    await run('fallocate', ['-l', String(length), join(this.directory, FILLER)])
  }

  async empty(): Promise<void> {
    await rm(join(this.directory, FILLER), { force: true })
  }
}
