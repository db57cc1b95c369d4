import type { PartitionId } from '../../base/brands.ts'
import { GROUPS_TOPIC } from '../../metadata/internal-topics.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Prng } from '../../ports/prng.ts'
import { AttendedTime } from '../replicas/attended-time.ts'
import type { ViewOf } from '../replicas/derived-view.ts'
import { VIEW_ID_BYTES } from './group-view-codec.ts'
import { PartitionView, type ViewStep } from './partition-view.ts'
import { ViewStore, type ViewStoreOptions } from './view-store.ts'

/** What comes in this time goes to the disk together: at most ten syncs a second for all groups of a node. */
const GATHER_MS = 100
/** Of the log, in one write: its encoding holds the event loop for some ten milliseconds. */
const WRITE_BYTES_MAX = 1024 * 1024

export interface GroupViewsOptions extends ViewStoreOptions {
  readonly clock: Clock
  readonly prng: Prng
}

/** The views of all partitions of `__groups` on this node, and the one who writes them: off the way of every answer. */
export class GroupViews {
  readonly #options: GroupViewsOptions
  readonly #store: ViewStore
  readonly #views = new Map<PartitionId, PartitionView>()
  readonly #time: AttendedTime
  #timer: Timer | undefined
  #isClosed = false

  constructor(options: GroupViewsOptions) {
    this.#options = options
    this.#store = new ViewStore(options)
    this.#time = new AttendedTime(options.clock, GATHER_MS)
  }

  readonly viewOf: ViewOf = ({ topic, partition }) =>
    topic === GROUPS_TOPIC ? this.of(partition) : undefined

  of(partition: PartitionId): PartitionView {
    const { clock, prng } = this.#options
    let view = this.#views.get(partition)
    if (view === undefined) {
      view = new PartitionView({
        partition,
        store: this.#store,
        clock,
        time: this.#time,
        drawId: () => Buffer.from(prng.bytes(VIEW_ID_BYTES)),
        onChange: () => this.#schedule(),
      })
      this.#views.set(partition, view)
    }
    return view
  }

  /** Before the store is closed. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#store.close()
  }

  #schedule(): void {
    const isNeeded = !this.#isClosed && [...this.#views.values()].some(view => view.isOpen)
    if (!isNeeded || this.#store.failure) {
      this.#timer?.cancel()
      this.#timer = undefined
    } else this.#timer ??= this.#options.clock.setTimer(GATHER_MS, () => void this.#write())
  }

  async #write(): Promise<void> {
    this.#time.tick()
    await this.#store.change(async () => {
      const steps = await this.#gather()
      // The logs may have been cut while others were read.
      const current = steps.filter(step => step.isCurrent())
      const changes = current.flatMap(step => step.changes())
      if (changes.length === 0) return
      await this.#store.write(changes)
      for (const step of current) step.applied()
    })
    this.#timer = undefined
    this.#schedule()
  }

  /** From who was served first last time on to the others, so that one that is far behind does not stop them. */
  async #gather(): Promise<ViewStep[]> {
    const steps: ViewStep[] = []
    let sizeBytes = 0
    for (const [partition, view] of [...this.#views]) {
      if (sizeBytes >= WRITE_BYTES_MAX) break
      const step = await view.gather(WRITE_BYTES_MAX - sizeBytes)
      if (step === undefined) continue
      steps.push(step)
      sizeBytes += step.sizeBytes
      this.#views.delete(partition)
      this.#views.set(partition, view)
    }
    return steps
  }
}
