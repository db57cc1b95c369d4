import type { NaruError } from '../../../src/base/errors.ts'
import { encodeGroupBatch, storedBatches } from '../../../src/drivers/groups/group-batches.ts'
import { decodeGroupRecord } from '../../../src/drivers/groups/group-record-codec.ts'
import { GroupViews } from '../../../src/drivers/groups/group-views.ts'
import type { PartitionView } from '../../../src/drivers/groups/partition-view.ts'
import type { GroupRecord } from '../../../src/groups/group-record.ts'
import { GroupsImage } from '../../../src/groups/groups-image.ts'
import type { PartitionLog } from '../../../src/log/partition-log.ts'
import type { KeyValueStore } from '../../../src/ports/key-value-store.ts'
import { recordsOf } from '../../groups/group-records.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { type LogFixture, openLog } from '../../log/log-harness.ts'

/** One partition of `__groups` on one simulated machine: its log, its view, and who owns them (the test). */
export class ViewFixture {
  readonly scheduler: EventScheduler
  readonly machine: SimMachine
  readonly errors: NaruError[] = []
  /** Synced writes of the store in the present life. */
  writes = 0
  topicId = 'topic'
  isInStep = true
  #prng: SeededPrng
  #directory = 'log-0'
  /** Of the store: the next life begins with none. */
  #isOutdated = false
  #views: GroupViews | undefined
  #fixture: LogFixture | undefined
  #highWatermark = 0

  constructor(seed = 1) {
    this.#prng = new SeededPrng(seed)
    this.scheduler = new EventScheduler(this.#prng.fork('scheduler'))
    this.machine = new SimMachine(seed, { name: 'n', scheduler: this.scheduler, prng: this.#prng.fork('n') })
  }

  static async start(seed?: number): Promise<ViewFixture> {
    const fixture = new ViewFixture(seed)
    await fixture.boot()
    return fixture
  }

  get log(): PartitionLog {
    if (!this.#fixture) throw new Error('the machine is down')
    return this.#fixture.log
  }

  get view(): PartitionView {
    if (!this.#views) throw new Error('the machine is down')
    return this.#views.of(0)
  }

  async boot(): Promise<void> {
    await this.run(this.#boot())
  }

  /** Opens the log as a node does, with the high watermark as the last checkpoint had it. */
  async #boot(): Promise<void> {
    const { disk, clock } = this.machine
    await disk.makeDirectory(this.#directory)
    await disk.syncDirectory('.')
    this.#fixture = await openLog({
      disk,
      clock,
      directory: this.#directory,
      highWatermark: this.#highWatermark,
    })
    this.writes = 0
    this.#views = new GroupViews({
      store: this.#counted(this.machine.openState({ anew: this.#isOutdated })),
      outdateStore: async () => {
        this.#isOutdated = true
      },
      clock,
      prng: this.#prng.fork(`life ${this.scheduler.nowMs}`),
      onError: error => this.errors.push(error),
    })
    await this.open()
  }

  /** What a node does with each partition that it has. */
  async open(): Promise<void> {
    const isInStep = () => this.isInStep
    await this.view.onOpened({ topicId: this.topicId, partition: 0, log: this.log, isInStep })
  }

  powerCut(): void {
    this.machine.powerCut()
    this.#views = undefined
    this.#fixture = undefined
  }

  /** The directory of the log is another, empty one from now on, as of a replica that left and came back. */
  replaceDirectory(): void {
    this.#directory = `${this.#directory}x`
    this.#highWatermark = 0
  }

  append(records: readonly GroupRecord[], leaderEpoch = 1): void {
    this.log.appendAsLeader(encodeGroupBatch(records, 1_700_000_000_000), {
      leaderEpoch,
      wallMs: 1_700_000_000_000,
    })
  }

  /** Of the synced end, as a leader alone has it. */
  commit(highWatermark = this.log.syncedEndOffset): void {
    this.log.highWatermark = this.#highWatermark = highWatermark
  }

  /** Everything that is there is synced, committed and applied. */
  async settle(): Promise<void> {
    await this.run(this.#fixture?.resources.scheduler.idle() ?? Promise.resolve())
    this.commit()
    await this.scheduler.runUntil(() => this.view.appliedEnd === this.log.highWatermark, {
      timeMsMax: 60_000,
    })
  }

  /** What a coordinator would get; undefined: it is not to be trusted. */
  async contents(): Promise<{ records: GroupRecord[]; endOffset: number } | undefined> {
    const records: GroupRecord[] = []
    const loaded = this.view.load(({ key, value }) => records.push(decodeGroupRecord(key, value)))
    const endOffset = await this.run(loaded)
    return endOffset === undefined ? undefined : { records, endOffset }
  }

  /** The image that the log makes up to there. */
  async imageOf(endOffset: number): Promise<GroupRecord[]> {
    const image = new GroupsImage()
    for (let from = this.log.logStartOffset; from < endOffset; ) {
      const slice = await this.run(this.log.read({ from, upTo: endOffset, maxBytes: 1 << 20 }))
      for (const { records } of storedBatches(slice))
        for (const { key, value } of records) image.replay(decodeGroupRecord(key, value))
      from = slice.nextOffset
    }
    return recordsOf(image)
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.scheduler.finish(work)
  }

  #counted(store: KeyValueStore): KeyValueStore {
    return {
      get: key => store.get(key),
      write: (batch, options) => {
        this.writes++
        return store.write(batch, options)
      },
      pages: range => store.pages(range),
      clear: range => store.clear(range),
      close: () => store.close(),
    }
  }
}

/** The image that these records make, whatever their order. */
export function imageOf(records: readonly GroupRecord[]): GroupRecord[] {
  const image = new GroupsImage()
  for (const record of records) image.replay(record)
  return recordsOf(image)
}

export function offset(group: string, partition: number, nextOffset: number | null): GroupRecord {
  const value =
    nextOffset === null
      ? null
      : { nextOffset, leaderEpoch: 3, metadata: 'm', committedAtMs: 1_700_000_000_000 }
  return { type: 'offset', version: 0, group, topicId: 'A'.repeat(22), partition, value }
}
