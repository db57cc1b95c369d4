import type { BenchRun } from '../bench-run.ts'
import { NaruNode } from '../naru-node.ts'

const RECORD_BYTES = 100

/**
 * What it costs that the same load is spread over ever more partitions, record by record, as keys spread it: each has a
 * file of its own to sync before its records are acknowledged. The node runs with a probe that counts syncs.
 */
export async function partitions(run: BenchRun): Promise<void> {
  const { options } = run
  const counts = options.quick ? [1, 60] : [1, 6, 60, 600]
  run.say(`busy partitions: ${counts.join(', ')}, ${options.repeats} windows of ${options.seconds} s each`)
  const node = await NaruNode.start({ dataDirectory: run.place('partitions'), withProbe: true })
  try {
    for (let repeat = 0; repeat < options.repeats; repeat++) {
      for (const count of repeat % 2 === 0 ? counts : counts.toReversed())
        await oneCount(run, node, { count, repeat })
    }
  } finally {
    await node.stop()
  }
}

interface Produced {
  readonly records: number
  readonly recordsPerSecond: number
  readonly elapsedMs: number
}

async function oneCount(
  run: BenchRun,
  node: NaruNode,
  window: { count: number; repeat: number },
): Promise<void> {
  const { count, repeat } = window
  const topic = `wide-${count}-${repeat}`
  await node.createTopic(topic, count)
  const before = await node.counts()
  const load = ['--seconds', String(run.options.seconds), '--record-bytes', String(RECORD_BYTES)]
  load.push('--spread', String(count))
  const { result, usage } = await run.window(
    () => node.runJson<Produced>(['perf', 'produce', topic, ...load]),
    node.pid,
  )
  const after = await node.counts()
  const syncs = after.syncs - before.syncs
  const label = { system: 'naru', variant: count === 1 ? '1 partition' : `${count} partitions`, repeat }
  run.add({ ...label, what: 'busy partitions' }, 'records/s', result.recordsPerSecond, usage)
  run.add({ ...label, what: 'busy partitions' }, 'syncs/s', (1000 * syncs) / result.elapsedMs, usage)
  run.add({ ...label, what: 'busy partitions' }, 'records/sync', result.records / Math.max(1, syncs), usage)
  run.add(
    { ...label, what: 'busy partitions: a sync' },
    'ms',
    (after.syncMs - before.syncMs) / Math.max(1, syncs),
    usage,
  )
  run.addServerTime({ ...label, what: 'busy partitions' }, usage, result.elapsedMs)
  await node.deleteTopic(topic)
}
