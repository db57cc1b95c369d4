import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const OPEN_PARTITIONS = fileURLToPath(new URL('OpenPartitions.java', import.meta.url))

/** The jars of a Kafka distribution, run without its shell scripts. */
export class KafkaTools {
  readonly #libs: string

  constructor(libs: string) {
    this.#libs = libs
  }

  /** Both streams of the tool line by line: it complains on either. */
  async dumpLogSegments(args: readonly string[], onLine: (line: string) => void): Promise<void> {
    await this.#java(['org.apache.kafka.tools.DumpLogSegments', ...args], onLine)
  }

  /** What Kafka's own log classes find in directories; they write there, so give copies. */
  async openPartitions(how: 'clean' | 'recover', directories: readonly string[]): Promise<OpenedPartition[]> {
    const lines: string[] = []
    await this.#java([OPEN_PARTITIONS, how, ...directories], line => lines.push(line))
    return lines.map(openedPartition)
  }

  async #java(args: readonly string[], onLine: (line: string) => void): Promise<void> {
    const child = spawn('java', ['-Xmx1g', '-cp', `${this.#libs}/*`, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = once(child, 'close')
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on('line', line => {
        if (!isLogger(line)) onLine(line)
      })
    const [status] = await ended
    if (status !== 0) throw new Error(`java ${args[0]} ended with status ${status}`)
  }
}

export interface OpenedPartition {
  readonly name: string
  readonly startOffset: number
  readonly endOffset: number
  readonly segments: number
  readonly topicId: string
  /** `epoch@start offset` */
  readonly epochs: readonly string[]
  /** `id/epoch:last sequence@last offset` */
  readonly producers: readonly string[]
}

function openedPartition(line: string): OpenedPartition {
  const [name = '', start, end, segments, topicId = '', epochs = '', producers = ''] = line.split('\t')
  const list = (text: string) => (text === '' ? [] : text.split(','))
  if (segments === undefined) throw new Error(`Kafka's log classes complain: ${line}`)
  return {
    name,
    startOffset: Number(start),
    endOffset: Number(end),
    segments: Number(segments),
    topicId,
    epochs: list(epochs),
    producers: list(producers),
  }
}

/** The jars have no logging settings with them and say so. */
function isLogger(line: string): boolean {
  return /^(SLF4J|log4j:|ERROR StatusLogger|WARN StatusLogger)/.test(line)
}
