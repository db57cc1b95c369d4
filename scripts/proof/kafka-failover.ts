import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorShell, anchorsHome } from '../bench/anchor-shell.ts'
import { atExit } from '../bench/child-processes.ts'

/** Of a leader that is not the controller, of one that is, and SIGTERM of a leader. */
export type KafkaFault = 'hard' | 'both' | 'term'

export interface KafkaTrial {
  /** The longest time between two acknowledgements. */
  readonly gapMs: number
  readonly failedSends: number
  readonly lost: number
}

const NODES = [1, 2, 3]
const HEALED_PAUSE_S = 4

/**
 * Three nodes of Kafka, broker and controller each, through the shell functions of an anchor directory; its program
 * `kafka/Failover.java` sends records of 100 bytes to one partition, awaits each with acks=all, and strikes its leader.
 */
export class KafkaFailover implements AsyncDisposable {
  readonly #anchors: { readonly directory: string; readonly resultsDirectory: string }
  readonly #forgetEnding: () => void

  private constructor(directory: string) {
    this.#anchors = { directory, resultsDirectory: mkdtempSync(join(tmpdir(), 'naru-proof-kafka-')) }
    // Should this program be ended in between, the nodes end with it.
    this.#forgetEnding = atExit(() => killNodes())
  }

  static async start(directory: string): Promise<KafkaFailover> {
    const kafka = new KafkaFailover(directory)
    try {
      await kafka.#shell(
        'javac -cp "$KLIBS/*" -d "$KCLASSES" "$HERE/Lab.java" "$HERE/Failover.java" && kformat 3 && kstart 1 2 3 && kwait 3 && sleep 5',
      )
    } catch (thrown) {
      await kafka[Symbol.asyncDispose]()
      throw thrown
    }
    return kafka
  }

  /** One fault, from a cluster at work to a cluster at work. */
  async strike(fault: KafkaFault): Promise<KafkaTrial> {
    const out = await this.#shell(
      'java $TOOL_OPTS -cp "$KLIBS/*:$KCLASSES" Failover $BS3 "$1" "$KDATA" 2>&1',
      [fault],
    )
    const [line] = out.split('\n').filter(one => one.includes('gap_ms='))
    const field = (name: string) => Number(new RegExp(`\\b${name}=(-?\\d+)`).exec(line ?? '')?.[1])
    const victim = field('victim')
    if (!NODES.includes(victim)) throw new Error(`Failover printed no result:\n${out}`)
    await this.#shell(
      't=0; while alive "$(kpid "$1")" && [ $t -lt 300 ]; do sleep .1; t=$((t+1)); done; kstart "$1"; kwait 3 && sleep "$2"',
      [String(victim), String(HEALED_PAUSE_S)],
    )
    return { gapMs: field('gap_ms'), failedSends: field('failed_sends'), lost: field('lost_acked') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shell(`kkill ${NODES.join(' ')}; rm -rf "$KDATA"`)
    this.#forgetEnding()
    rmSync(this.#anchors.resultsDirectory, { recursive: true, force: true })
  }

  #shell(script: string, args: readonly string[] = []): Promise<string> {
    return anchorShell(this.#anchors, script, args)
  }
}

function killNodes(): void {
  for (const node of NODES)
    try {
      process.kill(Number(readFileSync(join(anchorsHome(), `data/kafka/n${node}.pid`), 'latin1')), 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
}
