import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorsHome } from '../bench/anchor-shell.ts'
import { atExit } from '../bench/child-processes.ts'

/** `consumer`: KIP-848. */
export type KafkaProtocol = 'consumer' | 'classic'

export interface KafkaDeparture {
  readonly protocol: KafkaProtocol
  readonly kind: 'close' | 'kill'
  /** Undefined: its members had not settled before, or had not taken all over within the time that is looked at. */
  readonly taken: KafkaTakeover | undefined
}

interface KafkaTakeover {
  /** From close(), or the signal, until the others had consumed of all that the member had. */
  readonly takeoverMs: number
  /** Between two polls that brought something, of partitions of the others. */
  readonly longestPauseMs: number
}

/** Of each protocol, one after the other. */
const KINDS = 'close close kill'
const TIMEOUT_MS = 1_200_000

/**
 * Members of a group of Kafka that leave and are killed, by the anchor directory's `kafka/w7.sh`: three nodes, 12
 * partitions, 1,000 records a second, three members that poll every 100 ms, with both protocols.
 */
export async function kafkaDepartures(directory: string): Promise<KafkaDeparture[]> {
  const results = mkdtempSync(join(tmpdir(), 'naru-proof-kafka-'))
  const child = spawn('bash', [join(directory, 'kafka/w7.sh')], {
    env: { ...process.env, ANCHORS_HOME: anchorsHome(), RESULTS: results, KINDS },
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its nodes and members are in its process group, and end with it however that comes.
    detached: true,
  })
  const endAll = () => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch {
      // All have ended by themselves.
    }
  }
  const forget = atExit(endAll)
  const timer = setTimeout(endAll, TIMEOUT_MS)
  const said: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => {
    said.push(chunk)
    process.stdout.write(chunk.toString().replace(/^(?=.)/gm, 'Kafka: '))
  })
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  try {
    await once(child, 'exit')
  } finally {
    clearTimeout(timer)
    endAll()
    forget()
    rmSync(results, { recursive: true, force: true })
  }
  const text = Buffer.concat(said).toString()
  const departures = text.split('\n').flatMap(line => departureOf(line) ?? [])
  if (departures.every(({ taken }) => !taken))
    throw new Error(`w7.sh printed no result:\n${text.slice(-2_000)}`)
  return departures
}

/** `classic  close  balanced  owned=4 takeover_ms=3712 longest_pause_other_partitions_ms=151`, by tabulators. */
function departureOf(line: string): KafkaDeparture | undefined {
  const [protocol, kind, state, result = ''] = line.split('\t')
  if (protocol !== 'consumer' && protocol !== 'classic') return undefined
  if (kind !== 'close' && kind !== 'kill') return undefined
  const field = (name: string) => Number(new RegExp(`\\b${name}=(-?\\d+)`).exec(result)?.[1])
  const takeoverMs = field('takeover_ms')
  const longestPauseMs = field('longest_pause_other_partitions_ms')
  const isTaken = state === 'balanced' && takeoverMs >= 0 && !result.includes('not all taken')
  return { protocol, kind, taken: isTaken ? { takeoverMs, longestPauseMs } : undefined }
}
