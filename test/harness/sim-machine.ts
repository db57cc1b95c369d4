import type { Disk } from '../../src/ports/disk.ts'
import type { KeyValueStore } from '../../src/ports/key-value-store.ts'
import { EventScheduler } from './event-scheduler.ts'
import { SeededPrng } from './seeded-prng.ts'
import { type ClockFaults, SimClock, SimMachineTime } from './sim-clock.ts'
import { SimDiskImage } from './sim-disk-image.ts'
import { SimIncarnation } from './sim-incarnation.ts'
import { SimKeyValueImage } from './sim-key-value-store.ts'

export interface SimMachineOptions {
  readonly name?: string
  /** Of the cluster it is part of; a machine alone makes its own. */
  readonly scheduler?: EventScheduler
  readonly prng?: SeededPrng
  readonly clock?: ClockFaults
}

/**
 * A simulated machine: disk, key-value directory and clock that outlive its process, and the ports of the process that
 * runs on it now. After `kill` or `powerCut`, the next use of a port starts a new process.
 */
export class SimMachine {
  readonly name: string
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
  readonly image: SimDiskImage
  readonly state: SimKeyValueImage
  readonly time: SimMachineTime
  #process: SimProcess | undefined

  constructor(seed: number, options: SimMachineOptions = {}) {
    this.name = options.name ?? 'node-1'
    this.prng = options.prng ?? new SeededPrng(seed)
    this.scheduler = options.scheduler ?? new EventScheduler(this.prng.fork('scheduler'))
    this.image = new SimDiskImage({ scheduler: this.scheduler, prng: this.prng.fork(`${this.name} disk`) })
    this.state = new SimKeyValueImage({
      scheduler: this.scheduler,
      prng: this.prng.fork(`${this.name} state`),
    })
    this.time = new SimMachineTime(options.clock)
  }

  get incarnation(): SimIncarnation {
    return this.#running().incarnation
  }

  get disk(): Disk {
    return this.#running().disk
  }

  get clock(): SimClock {
    return this.#running().clock
  }

  openState({ anew = false } = {}): KeyValueStore {
    if (anew) this.state.destroy()
    return this.state.open(this.incarnation)
  }

  /** Runs work on the machine's disk until it is done. */
  run<T>(work: (disk: Disk) => Promise<T>): Promise<T> {
    return this.scheduler.finish(work(this.disk))
  }

  /** SIGKILL: the process is gone, what it had written is in the page cache. */
  kill(): void {
    this.incarnation.kill()
  }

  powerCut(): void {
    this.incarnation.kill()
    this.image.powerCut()
    this.state.powerCut()
  }

  /** Cuts the power in the middle of the disk change with this number (see `SimDiskImage.changes`). */
  crashAtChange(change: number, onCrash: () => void = () => {}): void {
    this.image.crashAtChange(change, () => {
      this.state.powerCut()
      onCrash()
    })
  }

  #running(): SimProcess {
    if (this.#process?.incarnation.isAlive) return this.#process
    const incarnation = new SimIncarnation(this.scheduler, this.name)
    this.#process = {
      incarnation,
      disk: this.image.mount(incarnation),
      clock: new SimClock(incarnation, this.time),
    }
    return this.#process
  }
}

interface SimProcess {
  readonly incarnation: SimIncarnation
  readonly disk: Disk
  readonly clock: SimClock
}
