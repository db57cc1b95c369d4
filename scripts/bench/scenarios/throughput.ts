import type { BenchRun } from '../bench-run.ts'
import { KafkaAnchor, type KafkaMode } from '../kafka-anchor.ts'
import { NaruNode } from '../naru-node.ts'
import { MemorySampler, residentMemory } from '../resident-memory.ts'

const PARTITIONS = 6
const IDLE_SECONDS = 15
export const RECORD_SIZES = [
  { recordBytes: 100, variant: '100 B' },
  { recordBytes: 1024, variant: '1 KB' },
] as const

interface Rate {
  readonly records: number
  readonly recordsPerSecond: number
  readonly elapsedMs: number
}

/**
 * One producer with its defaults as fast as it goes, then one reader of the same records from the page cache, and the
 * memory of the server meanwhile. With Kafka beside it the systems take turns, and the order of each turn is the last
 * one's turned round: whoever always came second would always find the disk busy with the other's pages.
 */
export async function throughput(run: BenchRun): Promise<void> {
  const { options } = run
  run.say(`throughput: ${options.repeats} windows of ${options.seconds} s`)
  const node = await NaruNode.start({ dataDirectory: run.place('throughput') })
  const kafka = options.anchors && (await KafkaAnchor.start(options.anchors, run.place('kafka')))
  try {
    await idle(options.quick ? 1 : IDLE_SECONDS)
    addMemory(run, { when: 'idle', naru: node.pid, kafka: kafka ? kafka.pid : undefined })
    if (kafka) await warmUp(run, kafka)
    for (let repeat = 0; repeat < options.repeats; repeat++) {
      const turns: (() => Promise<void>)[] = []
      for (const size of RECORD_SIZES) {
        turns.push(() => naruTurn(run, node, { ...size, repeat }))
        if (!kafka) continue
        for (const mode of ['default', 'batched'] as const)
          turns.push(() => kafkaTurn(run, kafka, { ...size, repeat, mode }))
      }
      if (repeat % 2 === 1) turns.reverse()
      for (const turn of turns) await turn()
    }
    addPeak(run, 'naru', node.pid)
    if (kafka) addPeak(run, 'kafka', kafka.pid)
  } finally {
    await node.stop()
    if (kafka) await kafka.stop()
  }
}

interface Turn {
  readonly recordBytes: number
  readonly variant: string
  readonly repeat: number
}

async function naruTurn(run: BenchRun, node: NaruNode, turn: Turn): Promise<void> {
  const { recordBytes, variant, repeat } = turn
  const topic = `load-${recordBytes}-${repeat}`
  const label = { system: 'naru', variant, repeat }
  await node.createTopic(topic, PARTITIONS)
  const memory = new MemorySampler(node.pid)
  const load = ['--seconds', String(run.options.seconds), '--record-bytes', String(recordBytes)]
  const produced = await run.window(() => node.runJson<Rate>(['perf', 'produce', topic, ...load]), node.pid)
  run.add({ ...label, what: 'memory loaded', variant: '' }, 'MB', memory.end(), produced.usage)
  run.add({ ...label, what: 'produce' }, 'records/s', produced.result.recordsPerSecond, produced.usage)
  run.addServerTime({ ...label, what: 'produce' }, produced.usage, produced.result.elapsedMs)
  const consumed = await run.window(() => node.runJson<Rate>(['perf', 'consume', topic]), node.pid)
  if (consumed.result.records !== produced.result.records)
    throw new Error(`${produced.result.records} records were stored, ${consumed.result.records} came back`)
  run.add({ ...label, what: 'consume' }, 'records/s', consumed.result.recordsPerSecond, consumed.usage)
  await node.deleteTopic(topic)
}

async function kafkaTurn(run: BenchRun, kafka: KafkaAnchor, turn: Turn & { mode: KafkaMode }): Promise<void> {
  const { recordBytes, variant, repeat, mode } = turn
  const { seconds } = run.options
  const label = { variant, repeat }
  for (let attempt = 0; attempt < 3; attempt++) {
    const topic = `load-${recordBytes}-${mode}-${repeat}-${attempt}`
    await kafka.createTopic(topic, PARTITIONS)
    const memory = new MemorySampler(kafka.pid)
    const produced = await run.window(() => kafka.produce(topic, { recordBytes, mode, seconds }), kafka.pid)
    const loadedMb = memory.end()
    const { result, usage } = produced
    if (result) {
      const system = `kafka ${mode}`
      run.add({ ...label, what: 'memory loaded', system: 'kafka', variant: '' }, 'MB', loadedMb, usage)
      run.add({ ...label, what: 'produce', system }, 'records/s', result.recordsPerSecond, usage)
      const loadMs = (1000 * result.records) / result.recordsPerSecond
      run.addServerTime({ ...label, what: 'produce', system }, usage, loadMs)
      // One reading per turn of the sizes is enough: what wrote the records makes little difference.
      if (mode === 'default') await kafkaConsume(run, kafka, { topic, records: result.records, ...label })
    }
    await kafka.deleteTopic(topic)
    if (result) return
  }
  run.say(`no window of kafka ${mode}, ${variant} was long enough`)
}

async function kafkaConsume(
  run: BenchRun,
  kafka: KafkaAnchor,
  read: { topic: string; records: number; variant: string; repeat: number },
): Promise<void> {
  const { topic, records, ...label } = read
  const { result, usage } = await run.window(() => kafka.consume(topic, records))
  run.add({ ...label, what: 'consume', system: 'kafka with join' }, 'records/s', result.withJoin, usage)
  run.add({ ...label, what: 'consume', system: 'kafka without join' }, 'records/s', result.withoutJoin, usage)
}

/** Finds out how many records fill a window, which also brings the code of the broker up to speed. */
async function warmUp(run: BenchRun, kafka: KafkaAnchor): Promise<void> {
  const topic = 'warm-up'
  await kafka.createTopic(topic, PARTITIONS)
  for (const { recordBytes } of RECORD_SIZES)
    for (const mode of ['default', 'batched'] as const)
      await kafka.calibrate(topic, { recordBytes, mode, seconds: run.options.seconds })
  await kafka.deleteTopic(topic)
}

function addMemory(run: BenchRun, reading: { when: string; naru: number; kafka: number | undefined }): void {
  const label = { what: `memory ${reading.when}`, variant: '', repeat: 0 }
  run.add({ ...label, system: 'naru' }, 'MB', residentMemory(reading.naru).nowMb)
  if (reading.kafka !== undefined)
    run.add({ ...label, system: 'kafka' }, 'MB', residentMemory(reading.kafka).nowMb)
}

function addPeak(run: BenchRun, system: string, pid: number): void {
  run.add({ what: 'memory peak', system, variant: '', repeat: 0 }, 'MB', residentMemory(pid).peakMb)
}

function idle(seconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, seconds * 1000))
}
