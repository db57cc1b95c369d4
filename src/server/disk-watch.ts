import type { Logger } from '../base/logger.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import type { LogDirectory } from '../log/log-directory.ts'
import type { Clock, Timer } from '../ports/clock.ts'

/** Of one write or sync; above it the disk is taken for hanging (rule B6). */
const OUTSTANDING_MS_MAX = 2000
const INTERVAL_MS = 500

export interface DiskWatchOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly quorum: ControllerDriver
  readonly directory: LogDirectory
  /** This node takes part in the cluster, and another one can do at once what it does. */
  readonly mayStepAside: () => boolean
  /** Others lead what this node led, until `comeBack`. */
  readonly stepAside: () => Promise<void>
  readonly comeBack: () => Promise<void>
}

/**
 * Notices a disk that answers nothing any more, which is no failure yet: says so, and gives the leadership of the
 * metadata quorum to a node whose disk works, since a leader applies, and so answers, only what is on its own disk. The
 * partitions go to others, too (B6): a replica in sync that cannot write stops all writes, and may be alive for hours.
 * Where there are no others, nothing moves: what waits is answered when the disk does.
 */
export class DiskWatch {
  readonly #options: DiskWatchOptions
  #timer: Timer | undefined
  #isHanging = false
  #isHandingOver = false
  /** What the controller was last told; undefined: perhaps not, so that it is told what is true by then. */
  #toldAside: boolean | undefined = false
  #isMoving = false

  constructor(options: DiskWatchOptions) {
    this.#options = options
    this.#schedule()
  }

  close(): void {
    this.#timer?.cancel()
  }

  #schedule(): void {
    this.#timer = this.#options.clock.setTick(INTERVAL_MS, () => {
      this.#look()
      this.#schedule()
    })
  }

  #look(): void {
    const { clock, quorum, directory } = this.#options
    const sinceMs = quorum.diskOutstandingSinceMs
    const metadataMs = sinceMs === undefined ? 0 : clock.monotonicMs() - sinceMs
    this.#tell(Math.max(metadataMs, directory.outstandingMs))
    this.#move()
    if (metadataMs > OUTSTANDING_MS_MAX && quorum.isLeading && !this.#isHandingOver) void this.#handOver()
  }

  #tell(outstandingMs: number): void {
    const { logger } = this.#options
    const isHanging = outstandingMs > OUTSTANDING_MS_MAX
    if (isHanging === this.#isHanging) return
    this.#isHanging = isHanging
    if (isHanging)
      logger.warn(
        { outstandingMs: Math.round(outstandingMs) },
        'a write or sync of the disk is not done for seconds: the disk is overloaded, or it fails',
      )
    else logger.info({}, 'the disk answers again')
  }

  #move(): void {
    const { logger, mayStepAside, stepAside, comeBack } = this.#options
    if (this.#isMoving || this.#isHanging === this.#toldAside) return
    if (this.#isHanging && !mayStepAside()) return
    const isAside = this.#isHanging
    this.#isMoving = true
    // From here on this node is aside for its own agent, or takes part, whether or not the controller hears of it.
    this.#toldAside = undefined
    const moved = isAside ? stepAside() : comeBack()
    moved
      .then(
        () => {
          this.#toldAside = isAside
        },
        // It is tried again at the next look.
        err => logger.warn({ err }, 'the controller was not told of the state of the disk'),
      )
      .finally(() => {
        this.#isMoving = false
      })
  }

  async #handOver(): Promise<void> {
    const { quorum, logger } = this.#options
    this.#isHandingOver = true
    try {
      await quorum.handOver()
    } catch (err) {
      logger.warn({ err }, 'the metadata leadership could not be handed over')
    } finally {
      this.#isHandingOver = false
    }
  }
}
