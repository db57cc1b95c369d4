import { expect, test } from 'vitest'
import { DiskWatch, type DiskWatchOptions } from '../../src/server/disk-watch.ts'
import { EventScheduler } from '../harness/event-scheduler.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimClock } from '../harness/sim-clock.ts'
import { SimIncarnation } from '../harness/sim-incarnation.ts'

/** A disk and a controller as the watch of a node sees them. `aside` is what the node's agent does with new sessions. */
class WatchedNode {
  readonly scheduler = new EventScheduler(new SeededPrng(1))
  readonly directory = { outstandingMs: 0 }
  readonly told: string[] = []
  hearsController = true
  aside = false

  constructor() {
    const clock = new SimClock(new SimIncarnation(this.scheduler, 'node-1'))
    new DiskWatch({
      clock,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      quorum: { isLeading: false, diskOutstandingSinceMs: undefined } as DiskWatchOptions['quorum'],
      directory: this.directory as DiskWatchOptions['directory'],
      mayStepAside: () => true,
      stepAside: () => this.#tell(true),
      comeBack: () => this.#tell(false),
    })
  }

  async hangs(outstandingMs: number): Promise<void> {
    this.directory.outstandingMs = outstandingMs
    await this.scheduler.runFor(2000)
  }

  async #tell(aside: boolean): Promise<void> {
    this.aside = aside
    if (!this.hearsController) throw new Error('the controller did not answer')
    this.told.push(aside ? 'aside' : 'back')
  }
}

test('a node steps aside while its disk hangs, and comes back when it answers, once each', async () => {
  const node = new WatchedNode()
  await node.hangs(3000)
  await node.hangs(0)
  expect(node.told).toEqual(['aside', 'back'])
})

test('a node whose disk answers again before any controller was told of the hang takes part again', async () => {
  const node = new WatchedNode()
  node.hearsController = false
  await node.hangs(3000)
  expect(node.aside).toBe(true)
  await node.hangs(0)
  expect(node.aside).toBe(false)
  node.hearsController = true
  await node.hangs(0)
  expect(node.told).toEqual(['back'])
})

test('a node whose disk hangs again before its return was answered steps aside again', async () => {
  const node = new WatchedNode()
  await node.hangs(3000)
  node.hearsController = false
  await node.hangs(0)
  node.hearsController = true
  await node.hangs(3000)
  expect(node.aside).toBe(true)
  expect(node.told).toEqual(['aside', 'aside'])
})
