import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { anchorShell, anchorsHome } from './anchor-shell.ts'
import { atExit } from './child-processes.ts'

export type KafkaMode = 'default' | 'batched'

const MODE_PROPERTIES: Readonly<Record<KafkaMode, readonly string[]>> = {
  default: [],
  batched: ['batch.size=131072', 'linger.ms=5'],
}

/** A run that is shorter than this part of what was asked is mostly the start of a JVM. */
const SHORT_RUN = 0.6

/**
 * One Kafka broker, started and loaded through the shell functions of an anchor directory (`kafka/lib.sh`, installed
 * by `kafka/install.sh`). Its tools take a number of records, not a time, so each series begins with runs that find
 * out how many fill a window; they also warm the broker's code.
 */
export class KafkaAnchor {
  readonly #directory: string
  readonly #resultsDirectory: string
  readonly #rates = new Map<string, number>()
  readonly #forgetEnding: () => void

  private constructor(directory: string, resultsDirectory: string) {
    this.#directory = directory
    this.#resultsDirectory = resultsDirectory
    // Should this program be ended in between, the broker ends with it.
    this.#forgetEnding = atExit(() => {
      try {
        process.kill(this.pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    })
  }

  static async start(directory: string, resultsDirectory: string): Promise<KafkaAnchor> {
    const kafka = new KafkaAnchor(directory, resultsDirectory)
    await kafka.#shell('kformat 1 && kstart 1 && kwait 1 "$BS1"')
    return kafka
  }

  get pid(): number {
    return Number(readFileSync(join(anchorsHome(), 'data/kafka/n1.pid'), 'latin1'))
  }

  async stop(): Promise<void> {
    await this.#shell('kkill 1; rm -rf "$KDATA"')
    this.#forgetEnding()
  }

  async createTopic(name: string, partitions: number): Promise<void> {
    await this.#shell('kj Lab mktopic "$BS1" "$1" "$2" 1', [name, String(partitions)])
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#shell('BS="$BS1" topic --delete --topic "$1" || true', [name])
  }

  /** To be called before the windows of a series; the topic's records are thrown away by the caller. */
  async calibrate(topic: string, load: KafkaLoad): Promise<void> {
    const key = rateKey(load)
    for (let records = 50_000; !this.#rates.has(key); records *= 3) {
      const { recordsPerSecond } = await this.#produce(topic, load, records)
      if (records / recordsPerSecond >= load.seconds / 4) this.#rates.set(key, recordsPerSecond)
    }
  }

  /** Undefined: the window came out too short; the next one will be longer. */
  async produce(topic: string, load: KafkaLoad): Promise<ProducedByKafka | undefined> {
    const rate = this.#rates.get(rateKey(load)) ?? 50_000
    const produced = await this.#produce(topic, load, Math.ceil(rate * load.seconds))
    this.#rates.set(rateKey(load), produced.recordsPerSecond)
    return produced.records / produced.recordsPerSecond < load.seconds * SHORT_RUN ? undefined : produced
  }

  /** Records a second of a whole run, and without the time that its group took to form. */
  async consume(topic: string, records: number): Promise<{ withJoin: number; withoutJoin: number }> {
    const out = await this.#shell(
      'kj org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$BS1" --topic "$1" --num-records "$2" --group "g-$1-$RANDOM" --timeout 20000 2>&1',
      [topic, String(records)],
    )
    const row = out
      .trim()
      .split('\n')
      .map(line => line.split(',').map(field => field.trim()))
      .findLast(fields => fields.length >= 10 && Number(fields[4]) > 0)
    if (!row) throw new Error(`ConsumerPerformance printed no result:\n${out}`)
    return { withJoin: Number(row[5]), withoutJoin: Number(row[9]) }
  }

  /** Milliseconds of records sent one by one, each read before the next is sent. */
  async endToEnd(topic: string, records: number, recordBytes: number): Promise<{ p50: number; p99: number }> {
    const out = await this.#shell(
      'kj org.apache.kafka.tools.EndToEndLatency "$BS1" "$1" "$2" all "$3" 2>&1',
      [topic, String(records), String(recordBytes)],
    )
    const [, p50, p99] = /50th = (\d+), 99th = (\d+)/.exec(out) ?? []
    if (p50 === undefined) throw new Error(`EndToEndLatency printed no result:\n${out}`)
    return { p50: Number(p50), p99: Number(p99) }
  }

  async #produce(topic: string, load: KafkaLoad, records: number): Promise<ProducedByKafka> {
    const out = await this.#shell(
      'topic=$1 n=$2 size=$3; shift 3; kj org.apache.kafka.tools.ProducerPerformance --bootstrap-server "$BS1" --topic "$topic" --num-records "$n" --record-size "$size" --throughput -1 --reporting-interval 60000 --command-property acks=all "$@"',
      [topic, String(records), String(load.recordBytes), ...MODE_PROPERTIES[load.mode]],
    )
    const rate = [...out.matchAll(/([0-9.]+) records\/sec/g)].at(-1)?.[1]
    if (rate === undefined) throw new Error(`ProducerPerformance printed no result:\n${out}`)
    return { records, recordsPerSecond: Number(rate) }
  }

  async #shell(script: string, args: readonly string[] = []): Promise<string> {
    return anchorShell({ directory: this.#directory, resultsDirectory: this.#resultsDirectory }, script, args)
  }
}

export interface KafkaLoad {
  readonly recordBytes: number
  readonly mode: KafkaMode
  readonly seconds: number
}

export interface ProducedByKafka {
  readonly records: number
  readonly recordsPerSecond: number
}

export function javaVersion(): string {
  return execFileSync('java', ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? ''
}

function rateKey({ recordBytes, mode }: KafkaLoad): string {
  return `${recordBytes} ${mode}`
}
