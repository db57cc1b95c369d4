import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { run } from '../../src/cli/program.ts'
import type { Client, GroupDescription, GroupList, ResetOffset } from '../../src/client/index.ts'

let directory: string
let calls: unknown[]
let list: GroupList
let moved: ResetOffset[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'naru-groups-'))
  calls = []
  list = { groups: [{ group: 'g', state: 'stable', members: 2, coordinator: 3 }], missing: [] }
  moved = [
    { topic: 'orders', partition: 0, before: 5, after: 9, error: undefined },
    { topic: 'orders', partition: 1, before: undefined, after: 0, error: undefined },
  ]
})

afterEach(() => rmSync(directory, { recursive: true }))

const description: GroupDescription = {
  group: 'g',
  state: 'stable',
  groupEpoch: 7,
  assignor: 'uniform',
  coordinator: 3,
  members: [
    {
      member: 'pod-0',
      clientId: '',
      address: '10.0.0.7',
      memberEpoch: 7,
      topics: ['orders'],
      topicPattern: undefined,
      assigned: [{ topic: 'orders', partition: 0 }],
      target: [{ topic: 'orders', partition: 0 }],
      disconnected: true,
    },
  ],
  offsets: [
    offset({ partition: 0, nextOffset: 40, highWatermark: 100, lag: 60, member: 'pod-0' }),
    offset({ partition: 1 }),
  ],
}

function offset(of: Partial<GroupDescription['offsets'][number]>): GroupDescription['offsets'][number] {
  return {
    topic: 'orders',
    topicId: 'id',
    partition: 0,
    nextOffset: undefined,
    committedAtMs: undefined,
    metadata: '',
    highWatermark: undefined,
    logStartOffset: undefined,
    lag: undefined,
    member: undefined,
    ...of,
  }
}

const groups = {
  list: async () => list,
  describe: async (name: string) => {
    if (name !== 'g') throw new NaruError('UNKNOWN_GROUP', `group "${name}" does not exist`)
    return description
  },
  resetOffsets: async (...words: unknown[]) => {
    calls.push(words)
    return moved
  },
  delete: async (name: string) => {
    if (name !== 'g') throw new NaruError('UNKNOWN_GROUP', `group "${name}" does not exist`)
  },
}

async function naru(line: string) {
  const client = { groups: () => groups, [Symbol.asyncDispose]: async () => {} } as unknown as Client
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const texts = { out: '', err: '' }
  stdout.on('data', text => {
    texts.out += text
  })
  stderr.on('data', text => {
    texts.err += text
  })
  const context: CliContext = {
    environment: {},
    stdin: Readable.from([]),
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

const words = (text: string) => text.split('\n').map(line => line.trim().split(/ +/).join(' '))

describe('naru groups list', () => {
  it('shows groups, or says that there are none', async () => {
    expect(words((await naru('groups list')).out)).toEqual([
      'GROUP STATE MEMBERS COORDINATOR',
      'g stable 2 3',
      '',
    ])
    expect(JSON.parse((await naru('groups list -o json')).out)).toEqual(list.groups)
    list = { groups: [], missing: [] }
    expect((await naru('groups list')).out).toBe('no groups\n')
  })

  it('shows what there is where a coordinator does not answer, and fails', async () => {
    list = {
      ...list,
      missing: [{ partition: 4, error: new NaruError('LEADER_NOT_AVAILABLE', 'nobody leads it') }],
    }
    const { exitCode, out, err } = await naru('groups list')
    expect(out).toContain('stable')
    expect(err).toContain('groups of coordinator 4 are missing: nobody leads it')
    expect(exitCode).toBe(5)
  })
})

describe('naru groups describe', () => {
  it('shows offsets, lag and members', async () => {
    const { out, exitCode } = await naru('groups describe g')
    expect(exitCode).toBe(0)
    expect(words(out)).toEqual([
      'group g: stable, 1 member, assignor uniform, coordinator 3',
      'TOPIC PARTITION OFFSET END LAG MEMBER',
      'orders 0 40 100 60 pod-0',
      'orders 1 - - - -',
      'MEMBER CLIENT ADDRESS PARTITIONS TARGET STREAM',
      'pod-0 - 10.0.0.7 1 1 broken',
      '',
    ])
  })

  it('shows all groups where none is named', async () => {
    expect(JSON.parse((await naru('groups describe -o json')).out)).toHaveLength(1)
    expect((await naru('groups describe none')).exitCode).toBe(3)
  })
})

describe('naru groups delete', () => {
  it('deletes one after the other', async () => {
    expect((await naru('groups delete g')).out).toBe('deleted group g\n')
    const { out, exitCode } = await naru('groups delete g none')
    expect({ out, exitCode }).toEqual({ out: 'deleted group g\n', exitCode: 3 })
    expect((await naru('groups delete --if-exists none')).out).toBe('group none does not exist\n')
    expect((await naru('groups delete')).exitCode).toBe(2)
  })
})

describe('naru groups reset-offsets', () => {
  it('only shows what would be, unless it is told to do it', async () => {
    const { out, err, exitCode } = await naru('groups reset-offsets g --all-topics --to-latest')
    expect(exitCode).toBe(0)
    expect(words(out)).toEqual(['TOPIC PARTITION OFFSET NEW OFFSET', 'orders 0 5 9', 'orders 1 - 0', ''])
    expect(err).toBe('2 offsets would be moved (nothing is done without --execute)\n')
    expect(calls).toEqual([['g', { to: 'latest' }, { topics: [], dryRun: true }]])
    const done = await naru('groups reset-offsets g --all-topics --to-latest --execute')
    expect(done.err).toBe('moved 2 offsets of group g\n')
    expect(calls[1]).toEqual(['g', { to: 'latest' }, { topics: [], dryRun: false }])
  })

  it.each([
    ['--to-earliest', { to: 'earliest' }],
    ['--to-current', { to: 'committed' }],
    ['--to-offset 7', { to: { offset: 7 } }],
    ['--to-datetime 2026-01-31T08:00:00Z', { to: { timestampMs: Date.UTC(2026, 0, 31, 8) } }],
    ['--shift-by -3', { shiftBy: -3 }],
  ])('moves %s', async (flag, target) => {
    await naru(`groups reset-offsets --group g --topic logs:0,2 --topic orders ${flag}`)
    const topics = [{ topic: 'logs', partitions: [0, 2] }, { topic: 'orders' }]
    expect(calls).toEqual([['g', target, { topics, dryRun: true }]])
  })

  it('takes offsets from a file, as it prints them', async () => {
    const { out } = await naru('groups reset-offsets g --all-topics --to-current --export')
    expect(out).toBe('orders,0,9\norders,1,0\n')
    const file = join(directory, 'offsets.csv')
    writeFileSync(file, `${out}\n"logs", 3, 12\r\n`)
    await naru(`groups reset-offsets g --from-file ${file}`)
    expect(calls[1]).toEqual([
      'g',
      {
        offsets: [
          { topic: 'orders', partition: 0, nextOffset: 9 },
          { topic: 'orders', partition: 1, nextOffset: 0 },
          { topic: 'logs', partition: 3, nextOffset: 12 },
        ],
      },
      { topics: [], dryRun: true },
    ])
    writeFileSync(file, 'orders,0,9\norders;1;2\n')
    const { err, exitCode } = await naru(`groups reset-offsets g --from-file ${file}`)
    expect(exitCode).toBe(2)
    expect(err).toContain(`${file}:2 is not topic,partition,offset`)
  })

  it('shows what could not be moved, and fails with it', async () => {
    const error = new NaruError('OFFSET_OUT_OF_RANGE', 'offset 9 is not there')
    moved = [{ topic: 'orders', partition: 0, before: 5, after: undefined, error }]
    const { out, err, exitCode } = await naru('groups reset-offsets g --all-topics --to-offset 9 --execute')
    expect(words(out)[1]).toBe('orders 0 5 OFFSET_OUT_OF_RANGE')
    expect(err).toContain('moved 0 offsets of group g')
    expect(err).toContain('offset 9 is not there')
    expect(exitCode).not.toBe(0)
    const json = await naru('groups reset-offsets g --all-topics --to-offset 9 -o json')
    expect(JSON.parse(json.out)[0]).toMatchObject({
      before: 5,
      error: 'OFFSET_OUT_OF_RANGE: offset 9 is not there',
    })
  })

  it.each([
    '--all-topics',
    '--to-latest',
    '--all-topics --topic logs --to-latest',
    '--all-topics --to-latest --to-earliest',
    '--all-topics --to-latest --dry-run --execute',
    '--topic logs:x --to-latest',
    '--topic :1 --to-latest',
    '--all-topics --to-datetime yesterday',
    '--all-topics --to-offset -1',
  ])('does not guess what %s means', async flags => {
    expect((await naru(`groups reset-offsets g ${flags}`)).exitCode).toBe(2)
    expect(calls).toEqual([])
  })

  it('needs a group', async () => {
    expect((await naru('groups reset-offsets --all-topics --to-latest')).exitCode).toBe(2)
    expect((await naru('groups reset-offsets g --group h --all-topics --to-latest')).exitCode).toBe(2)
  })
})
