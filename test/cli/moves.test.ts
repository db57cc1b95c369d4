import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CliContext } from '../../src/cli/context.ts'
import { run } from '../../src/cli/program.ts'
import type { Client, PlannedMove, ReassignmentProgress, Recovery } from '../../src/client/index.ts'

let directory: string
let calls: unknown[]
/** What each call of `rebalance` answers, the last one for ever. */
let plans: PlannedMove[][]
let underWay: ReassignmentProgress[][]
let recoveries: Recovery[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'naru-moves-'))
  calls = []
  plans = [[]]
  underWay = [[]]
  recoveries = []
})

afterEach(() => rmSync(directory, { recursive: true }))

const next = <T>(from: T[]): T => (from.length > 1 ? from.shift() : from[0]) as T

const admin = {
  rebalance: async (options: unknown) => {
    calls.push(['rebalance', options])
    return next(plans)
  },
  reassignPartitions: async (...words: unknown[]) => void calls.push(['reassignPartitions', ...words]),
  listReassignments: async () => next(underWay),
  cancelReassignments: async () => [{ topic: 't', partition: 0 }],
  changeReplicationFactor: async (...words: unknown[]) => {
    calls.push(['changeReplicationFactor', ...words])
    return 3
  },
  recoverPartitions: async (...words: unknown[]) => {
    calls.push(['recoverPartitions', ...words])
    return recoveries
  },
}

/** The answer is what somebody types at a terminal; without it there is none. */
async function naru(line: string, answer?: string) {
  const client = { admin: () => admin, [Symbol.asyncDispose]: async () => {} } as unknown as Client
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const texts = { out: '', err: '' }
  stdout.on('data', text => {
    texts.out += text
  })
  stderr.on('data', text => {
    texts.err += text
  })
  const stdin: CliContext['stdin'] = Readable.from(answer === undefined ? [] : [`${answer}\n`])
  const context: CliContext = {
    environment: {},
    stdin: Object.assign(stdin, { isTTY: answer !== undefined }),
    stdout,
    stderr,
    command: 'naru',
    program: [],
    connect: async () => client,
    runNode: async () => {},
    monotonicMs: () => 0,
    onInterrupt: () => {},
  }
  const exitCode = await run(line.split(' '), context)
  await new Promise(resolve => setImmediate(resolve))
  return { exitCode, ...texts }
}

const move = (partition: number, started = false): PlannedMove => ({
  topic: 't',
  partition,
  from: [1, 2],
  to: [1, 3],
  started,
})

describe('cluster rebalance', () => {
  it('shows the plan, and moves nothing in a dry run or without a yes', async () => {
    plans = [[move(0), move(1)]]
    const dry = await naru('cluster rebalance --dry-run --evacuate 2')
    expect(dry).toMatchObject({ exitCode: 0, out: expect.stringMatching(/t-0\s+1,2\s+1,3\s+3\n/) })
    expect(calls).toEqual([['rebalance', { evacuateNodeIds: [2], dryRun: true }]])
    const silent = await naru('cluster rebalance')
    expect(silent).toMatchObject({ exitCode: 1, err: expect.stringContaining('--yes') })
    expect((await naru('cluster rebalance', 'n')).exitCode).toBe(1)
    expect(calls).toHaveLength(3)
  })

  it('goes on until no move is left', async () => {
    plans = [[move(0), move(1)], [move(0, true), move(1)], [move(1, true)], []]
    underWay = [
      [{ topic: 't', partition: 0, replicas: [1, 3], addingReplicas: [3], removingReplicas: [2] }],
      [],
    ]
    const { exitCode, err } = await naru('cluster rebalance --concurrent-moves 1 --throttle 1000', 'yes')
    expect({ exitCode, err }).toMatchObject({
      exitCode: 0,
      err: expect.stringContaining('all moves are done'),
    })
    expect(calls.slice(1)).toEqual(
      [1, 2].map(() => ['rebalance', { concurrentMovesMax: 1, throttleBytesPerSecond: 1000 }]),
    )
  })

  it('says when there is nothing to move', async () => {
    expect(await naru('cluster rebalance')).toMatchObject({ exitCode: 0, out: 'nothing to move\n' })
  })
})

describe('cluster reassign', () => {
  const file = (text: string) => {
    const path = join(directory, 'moves.json')
    writeFileSync(path, text)
    return path
  }

  it('moves what a file in the form of Kafka says', async () => {
    const partitions = [{ topic: 't', partition: 0, replicas: [3, 1], log_dirs: ['any', 'any'] }]
    const path = file(JSON.stringify({ version: 1, partitions }))
    const { exitCode, out } = await naru(`cluster reassign ${path} --wait --throttle 5`)
    expect({ exitCode, out }).toEqual({
      exitCode: 0,
      out: 'moving 1 partition (see them: naru cluster reassign --list)\nmoved t-0\n',
    })
    const assignments = [{ topic: 't', partition: 0, replicas: [3, 1] }]
    expect(calls).toEqual([['reassignPartitions', assignments, { throttleBytesPerSecond: 5 }]])
  })

  it('says what is wrong with a file, before anything moves', async () => {
    const bad = file('{"partitions": [{"topic": "t", "partition": 0, "replicas": []}]}')
    expect((await naru(`cluster reassign ${bad}`)).err).toContain('partitions[0] needs a topic')
    expect((await naru(`cluster reassign ${file('{')}`)).err).toContain('is no JSON')
    expect(await naru('cluster reassign')).toMatchObject({ exitCode: 2 })
    expect(calls).toEqual([])
  })

  it('lists and ends the moves under way', async () => {
    expect((await naru('cluster reassign --list')).out).toBe('nothing is being moved\n')
    underWay = [[{ topic: 't', partition: 0, replicas: [1, 3], addingReplicas: [3], removingReplicas: [2] }]]
    expect((await naru('cluster reassign --list')).out).toMatch(/t-0\s+1,3\s+3\s+2\n/)
    expect((await naru('cluster reassign --cancel')).out).toBe('cancelled 1 move\n')
  })
})

describe('topics', () => {
  it('get another replication factor', async () => {
    const { exitCode, err } = await naru('topics alter t --replication-factor 3')
    expect({ exitCode, err }).toMatchObject({ exitCode: 0, err: expect.stringContaining('3 moves started') })
    expect(calls).toEqual([['changeReplicationFactor', 't', 3]])
  })

  it('are recovered only after it was shown what is lost, and with a yes', async () => {
    const replica = (nodeId: number, logEndOffset: number, more = {}) => ({
      nodeId,
      alive: true,
      logEndOffset,
      highWatermark: 100,
      damaged: false,
      ...more,
    })
    const dead = {
      nodeId: 1,
      alive: false,
      logEndOffset: undefined,
      highWatermark: undefined,
      damaged: false,
    }
    const replicas = [dead, replica(2, 90), replica(3, 120, { damaged: true })]
    recoveries = [{ topic: 't', partition: 4, nodeId: 2, clean: false, replicas }]
    const refused = await naru('topics recover t', 'no')
    expect(refused.exitCode).toBe(1)
    expect(refused.err).toMatch(
      /t-4\s+1 down, 2 to 90, 3 to 120 \(damaged\)\s+2\s+at least 10 records from 90 on/,
    )
    expect(calls).toEqual([['recoverPartitions', 't', { dryRun: true }]])
    const done = await naru('topics recover t --yes')
    expect(done).toMatchObject({ exitCode: 0, out: 'recovered t-4 with node 2\n' })
    expect(calls.at(-1)).toEqual(['recoverPartitions', 't', { partition: 4, nodeId: 2 }])
  })

  it('that have leaders need no recovery, and those without a live replica cannot have one', async () => {
    expect((await naru('topics recover t')).out).toBe('topic t: every partition has a leader\n')
    recoveries = [{ topic: 't', partition: 4, nodeId: undefined, clean: false, replicas: [] }]
    expect(await naru('topics recover t --yes')).toMatchObject({ exitCode: 5 })
  })
})
