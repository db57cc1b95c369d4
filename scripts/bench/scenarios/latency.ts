import type { BenchRun } from '../bench-run.ts'
import { KafkaAnchor } from '../kafka-anchor.ts'
import { NaruNode } from '../naru-node.ts'
import { RECORD_SIZES } from './throughput.ts'

const PARTITIONS = 6

interface LatencyRow {
  readonly until: 'acknowledged' | 'read'
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** One record at a time, each synced before its answer: what a caller waits for who awaits every send. */
export async function latency(run: BenchRun): Promise<void> {
  const { options } = run
  const records = options.quick ? 200 : 5000
  run.say(`latency: ${options.repeats} times ${records} records, one at a time`)
  const node = await NaruNode.start({ dataDirectory: run.place('latency') })
  const kafka = options.anchors && (await KafkaAnchor.start(options.anchors, run.place('kafka')))
  try {
    await node.createTopic('sends', PARTITIONS)
    if (kafka) await kafka.createTopic('sends', 1)
    const counts = ['--records', String(records), '--warmup-records', String(records / 10)]
    for (let repeat = 0; repeat < options.repeats; repeat++) {
      for (const { recordBytes, variant } of RECORD_SIZES) {
        const label = { system: 'naru', variant, repeat }
        const load = ['perf', 'e2e', 'sends', ...counts, '--record-bytes', String(recordBytes)]
        const sent = await run.window(() => node.runJson<LatencyRow[]>([...load, '--no-read']))
        for (const row of sent.result)
          for (const point of ['p50', 'p95', 'p99'] as const)
            run.add({ ...label, what: `awaited send ${point}` }, 'ms', row[point], sent.usage)
        const read = await run.window(() => node.runJson<LatencyRow[]>(load))
        for (const row of read.result.filter(one => one.until === 'read'))
          for (const point of ['p50', 'p99'] as const)
            run.add({ ...label, what: `end to end ${point}` }, 'ms', row[point], read.usage)
      }
      if (!kafka) continue
      const { result, usage } = await run.window(() => kafka.endToEnd('sends', records, 1024))
      for (const point of ['p50', 'p99'] as const)
        run.add(
          { what: `end to end ${point}`, system: 'kafka', variant: '1 KB', repeat },
          'ms',
          result[point],
          usage,
        )
    }
  } finally {
    await node.stop()
    if (kafka) await kafka.stop()
  }
}
