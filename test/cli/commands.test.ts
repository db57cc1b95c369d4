import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { run } from '../../src/cli/program.ts'
import { FakeClient } from './fake-client.ts'

let client: FakeClient
let directory: string
beforeEach(() => {
  client = new FakeClient()
  directory = mkdtempSync(join(tmpdir(), 'naru-cli-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function naru(
  line: string | string[],
  options: {
    stdin?: string | Readable
    environment?: Record<string, string>
    beforeConnect?: Promise<void>
  } = {},
) {
  const { stdin = '' } = options
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const bootstraps: string[][] = []
  const out = text(stdout)
  const err = text(stderr)
  const context: CliContext = {
    environment: options.environment ?? {},
    stdin: stdin instanceof Readable ? stdin : Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    command: 'naru',
    program: [],
    connect: async bootstrap => {
      bootstraps.push(bootstrap)
      await options.beforeConnect
      return client.asClient()
    },
    runNode: async settings => void client.calls.push(['runNode', settings]),
    monotonicMs: () => 0,
    onInterrupt: () => {},
  }
  const exitCode = await run(typeof line === 'string' ? line.split(' ') : line, context)
  stdout.end()
  stderr.end()
  return { exitCode, out: await out, err: await err, bootstraps }
}

async function text(stream: PassThrough): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

describe('topics', () => {
  it('are created with the flags of kafka-topics', async () => {
    const flags = '--partitions 3 --replication-factor 2 --config retention.ms=5 --config a=b=c'
    expect(await naru(`topics create logs ${flags}`)).toMatchObject({
      exitCode: 0,
      out: 'created topic logs\n',
      err: '',
    })
    const settings = { 'retention.ms': '5', a: 'b=c' }
    const spec = { name: 'logs', partitions: 3, replicationFactor: 2, settings }
    expect(client.calls).toEqual([['createTopics', [spec], { validateOnly: false }], ['close']])
    expect(await naru('topics create --topic other')).toMatchObject({ exitCode: 0 })
    expect([...client.topics.keys()]).toEqual(['logs', 'other'])
  })

  it('that exist are an error, unless that is fine', async () => {
    await naru('topics create logs')
    expect(await naru('topics create logs')).toMatchObject({
      exitCode: 4,
      out: '',
      err: 'naru: topic "logs" exists (TOPIC_ALREADY_EXISTS)\n',
    })
    expect(await naru('topics create logs --if-not-exists')).toMatchObject({ exitCode: 0 })
  })

  it('can be checked without being created', async () => {
    expect(await naru('topics create logs --validate-only')).toMatchObject({
      out: 'topic logs can be created\n',
    })
    expect(client.topics.size).toBe(0)
  })

  it('are deleted one by one, and told', async () => {
    await naru('topics create a')
    expect(await naru('topics delete a b')).toMatchObject({ exitCode: 3, out: 'deleted topic a\n' })
    expect(await naru('topics delete b --if-exists')).toMatchObject({
      exitCode: 0,
      out: 'topic b does not exist\n',
    })
  })

  it('are altered: settings before partitions, which cannot be taken back', async () => {
    await naru('topics alter a --partitions 5 --config x=1 --delete-config y --delete-config z')
    expect(client.calls.slice(0, 2)).toEqual([
      ['alterTopicSettings', 'a', { set: { x: '1' }, remove: ['y', 'z'] }],
      ['createPartitions', 'a', 5],
    ])
    expect(await naru('topics alter a')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('nothing to change'),
    })
  })
})

describe('usage errors', () => {
  it.each([
    ['topics create', 'name the topic'],
    ['topics create a --topic b', 'two names are given'],
    ['topics create a --partitions x', 'It must be a whole number from 1 on.'],
    ['topics create a --partitions 0', 'It must be a whole number from 1 on.'],
    ['topics create a --config x', 'It must be key=value.'],
    ['topics create a -b localhost', '"localhost" is not host:port, as in 127.0.0.1:7450.'],
    ['topics crate a', "unknown command 'crate'"],
    ['topics create a --partition 3', '(Did you mean --partitions?)'],
    ['consume a --offset 3', 'add --partition N'],
    ['consume a --offset 3 --partition 0 --from-beginning', 'exclude each other'],
    ['consume a --from-time yesterday', 'It must be a time like'],
    ['consume', 'name a topic'],
    ['consume a b', 'add --group NAME'],
    ['consume a --member m', '--member means something in a group only'],
    ['consume --group g', 'name topics, or a --topic-pattern'],
    ['consume a --group g --until-end', '--until-end does not go with --group'],
    ['consume a --group g --partition 1', '--partition does not go with --group'],
    ['consume a --group g --offset 3', 'naru groups reset-offsets'],
    ['produce a --key-field 1 --key-separator :', 'a line has one key'],
  ])('%s', async (line, message) => {
    const result = await naru(line)
    expect(result).toMatchObject({ exitCode: 2, out: '' })
    expect(result.err).toContain(message)
    expect(result.err).toMatch(/^naru: /)
  })

  it('help and version are none', async () => {
    expect(await naru('--help')).toMatchObject({ exitCode: 0, err: '' })
    expect((await naru('--version')).out).toMatch(/^\d+\.\d+\.\d+/)
    expect((await naru('server --help')).out).toContain('--client-port <integer>')
  })
})

describe('connection', () => {
  it('that takes long is told before it is given up', async () => {
    vi.useFakeTimers()
    const beforeConnect = new Promise<void>(resolve => setTimeout(resolve, 2_001))
    const result = naru('topics create a', { beforeConnect })
    await vi.advanceTimersByTimeAsync(2_001)
    vi.useRealTimers()
    expect((await result).err).toBe('naru: no answer from 127.0.0.1:7450 yet, still trying\n')
  })

  it('goes to -b, else NARU_BOOTSTRAP, else this machine', async () => {
    expect((await naru('topics create a')).bootstraps).toEqual([['127.0.0.1:7450']])
    const environment = { NARU_BOOTSTRAP: 'a:1,[::1]:2' }
    expect((await naru('topics create b', { environment })).bootstraps).toEqual([['a:1', '[::1]:2']])
    expect((await naru('topics create c -b c:3', { environment })).bootstraps).toEqual([['c:3']])
  })
})

describe('produce', () => {
  const values = () => client.records.map(one => `${one.key ?? ''}|${one.value ?? ''}|${one.partition}`)

  it('stores each line of standard input, waits when the producer is full, and sums up', async () => {
    const result = await naru('produce logs --partition 2', { stdin: 'a\nb\n\nd' })
    expect(result).toMatchObject({ exitCode: 0, out: '' })
    expect(result.err).toMatch(/^produced 4 records in /)
    expect(values()).toEqual(['|a|2', '|b|2', '||2', '|d|2'])
    expect(client.readyCalls).toBe(1)
  })

  it('reads files, with keys', async () => {
    const file = join(directory, 'lines')
    writeFileSync(file, '10.0.0.1 GET\n10.0.0.2 PUT\n')
    await naru(['produce', 'logs', '--file', file, '--key-field', '1'])
    await naru(['produce', 'logs', '--file', file, '--key-separator', ' '])
    expect(values()).toEqual([
      '10.0.0.1|10.0.0.1 GET|0',
      '10.0.0.2|10.0.0.2 PUT|0',
      '10.0.0.1|GET|0',
      '10.0.0.2|PUT|0',
    ])
  })

  it('stores and counts the lines before one that is wrong', async () => {
    const result = await naru('produce logs --key-separator :', { stdin: 'a:1\nb\nc:3' })
    expect(result.exitCode).toBe(2)
    expect(result.err).toMatch(/^produced 1 record in .*\nnaru: line 2 has no ":" to end its key/)
    expect(client.calls).toContainEqual(['flush'])
  })

  it('counts what was stored, says how many were not and why, and ends with the code of that', async () => {
    client.refuses = value =>
      value.length > 2 ? new NaruError('RECORD_TOO_LARGE', 'the record is too large') : undefined
    const result = await naru('produce logs', { stdin: 'a\nlong\nb\n' })
    expect(result).toMatchObject({
      exitCode: 2,
      err: 'produced 2 records, 1 failed\nnaru: the record is too large (RECORD_TOO_LARGE)\n',
    })
    expect(values()).toEqual(['|a|0', '|b|0'])
  })

  it('reads no further when the rest would fail as well', async () => {
    client.refuses = () => new NaruError('UNKNOWN_TOPIC', 'topic "logs" does not exist')
    const stdin = Readable.from([Buffer.from('a\n'), Buffer.from('b\n'), Buffer.from('c\n')])
    expect(await naru('produce logs', { stdin })).toMatchObject({
      exitCode: 3,
      err: 'produced 0 records, 1 failed\nnaru: topic "logs" does not exist (UNKNOWN_TOPIC)\n',
    })
  })

  it('tells of a wrong line and of failed records, both', async () => {
    client.refuses = () => new NaruError('DISK_FULL', 'the disk is full')
    const { exitCode, err } = await naru('produce logs --key-separator :', { stdin: 'a:1\nb\n' })
    expect(exitCode).toBe(5)
    expect(err).toMatch(/^naru: line 2 has no .*\nproduced 0 records, 1 failed\nnaru: the disk is full/)
  })

  it('says a warning of the cluster once', async () => {
    client.warnings = ['topic "logs" did not exist and was created']
    const { exitCode, err } = await naru('produce logs', { stdin: 'a\nb\n' })
    expect(exitCode).toBe(0)
    expect(err).toMatch(
      /^naru: warning: topic "logs" did not exist and was created\nproduced 2 records in [^\n]*\n$/,
    )
  })

  it('says which file it cannot read', async () => {
    expect(await naru('produce logs --file gone')).toMatchObject({
      exitCode: 1,
      err: expect.stringMatching(/ENOENT.*gone/),
    })
    expect(await naru(['produce', 'logs', '--file', directory])).toMatchObject({ exitCode: 2 })
  })
})

describe('consume', () => {
  beforeEach(async () => {
    await naru('produce logs --key-separator :', { stdin: 'k1:a\nk2:b\nk3:c\n' })
    client.calls.length = 0
  })

  it('prints the values and nothing else', async () => {
    const result = await naru('consume logs --from-beginning --until-end')
    expect(result).toMatchObject({ exitCode: 0, out: 'a\nb\nc\n' })
    expect(result.err).toMatch(/^consumed 3 records/)
    expect(client.calls[0]).toEqual(['reader', { topic: 'logs', start: 'earliest', stop: 'currentEnd' }])
  })

  it('stops after --max, prints keys, or all there is as JSON', async () => {
    expect((await naru('consume logs --from-beginning --max 1 --key-separator =')).out).toBe('k1=a\n')
    const json = (await naru('consume logs --from-beginning --max 1 -o json')).out
    expect(JSON.parse(json)).toEqual({
      topic: 'logs',
      partition: 0,
      offset: 0,
      timestampMs: 1,
      key: 'k1',
      value: 'a',
    })
  })

  it.each([
    ['', { start: 'latest' }],
    ['--offset 7 --partition 1', { start: { offset: 7 }, partitions: [1] }],
    ['--offset earliest', { start: 'earliest' }],
    ['--from-time 2026-01-31T12:00:00Z', { start: { timestampMs: 1_769_860_800_000 } }],
    ['--from-time 5', { start: { timestampMs: 5 } }],
  ])('starts where %j says', async (flags, options) => {
    await naru(`consume logs ${flags}`.trim())
    expect(client.calls[0]).toEqual(['reader', { topic: 'logs', ...options }])
  })
})

describe('consume --group', () => {
  beforeEach(async () => {
    await naru('produce logs --key-separator :', { stdin: 'k1:a\nk2:b\nk3:c\n' })
    client.calls.length = 0
  })

  it('prints what the group has not had, and comes back for more only after that', async () => {
    client.warnings = ['uniform is used']
    const result = await naru('consume logs --group g --from-beginning')
    expect(result).toMatchObject({ exitCode: 0, out: 'a\nb\nc\n' })
    expect(result.err).toMatch(/^warning: uniform is used\nconsumed 3 records/)
    const options = { group: 'g', topics: ['logs'], start: 'earliest', clientId: 'naru-consume' }
    expect(client.calls).toEqual([
      ['consumer', options],
      ['came back', 2],
      ['came back', 3],
      ['left'],
      ['close'],
    ])
  })

  it.each(['consume logs', 'consume logs --group g'])('%s says what is gone', async command => {
    client.skipped = [
      { topic: 'logs', partition: 0, from: 2, to: 7 },
      { topic: 'logs', partition: 1, from: 9, to: 5 },
    ]
    expect((await naru(`${command} --from-beginning`)).err).toMatch(
      /^warning: offsets 2 to 7 of logs\/0 are gone, .*\nwarning: logs\/1 goes on at offset 5, not at 9: .*\n/,
    )
  })

  it('with --max commits what was printed, not what came with it', async () => {
    expect((await naru('consume logs --group g --max 1')).out).toBe('a\n')
    const offsets = [{ topic: 'logs', partition: 0, nextOffset: 1 }]
    expect(client.calls.slice(1)).toEqual([['commit', offsets], ['left'], ['close']])
  })

  it('takes several topics, a pattern and a name', async () => {
    await naru(['consume', 'logs', 'more', '--group', 'g', '--topic-pattern', 'log*', '--member', 'pod-1'])
    expect(client.calls[0]).toMatchObject([
      'consumer',
      { topics: ['logs', 'more'], topicPattern: 'log*', member: 'pod-1', start: 'latest' },
    ])
  })
})

describe('a node', () => {
  it('runs with settings from flags, variables and file', async () => {
    const file = join(directory, 'naru.yaml')
    writeFileSync(file, 'rack: a\nclient.port: 1\n')
    const environment = { NARU_CLIENT_PORT: '2', NARU_HTTP_PORT: '4' }
    await naru(['server', '--config', file, '--http-port', '3', '--data-dir', directory], { environment })
    const [, settings] = client.calls[0] as [string, Record<string, unknown>]
    expect(settings).toMatchObject({ rack: 'a', 'client.port': 2, 'http.port': 3, 'data.dir': directory })
  })

  it('refuses wrong settings in one sentence', async () => {
    expect(await naru('server --client-port x')).toMatchObject({
      exitCode: 2,
      err: 'naru: --client-port is "x", but must be a whole number (INVALID_CONFIG)\n',
    })
  })

  it('shows its settings and where they come from', async () => {
    const environment = { NARU_RACK: 'b' }
    expect((await naru('config show', { environment })).out).toMatch(/^rack +b +NARU_RACK$/m)
    const json = (await naru('config show -o json', { environment })).out
    expect(JSON.parse(json)).toContainEqual({ key: 'rack', value: 'b', from: 'NARU_RACK' })
  })
})

describe('log', () => {
  const samples = fileURLToPath(new URL('../data/kafka-batches/rolled', import.meta.url))

  it('dump shows batches, or records one a line', async () => {
    expect((await naru(['log', 'dump', samples])).out).toMatch(
      /^segment .*00000000000000000000\.log\n {2}offsets 0-\d+ position 0 bytes \d+ records \d+ epoch 0 compression none/,
    )
    const lines = (await naru(['log', 'dump', samples, '--records'])).out.trimEnd().split('\n')
    expect(lines).toHaveLength(2500)
    expect(JSON.parse(lines[7] as string)).toMatchObject({ offset: 7, timestampMs: expect.any(Number) })
  })

  it('dump shows what control batches of Kafka mean', async () => {
    const transactions = fileURLToPath(new URL('../data/kafka-batches/transactions', import.meta.url))
    const batches = (await naru(['log', 'dump', transactions])).out
    expect(batches.match(/ transactional control (commit|abort)$/gm)?.map(text => text.slice(23))).toEqual([
      'commit',
      'commit',
      'commit',
      'abort',
      'commit',
    ])
    expect(batches).toMatch(/ transactional$/m)
    const lines = (await naru(['log', 'dump', transactions, '--records'])).out.trimEnd().split('\n')
    const markers = lines.map(line => JSON.parse(line)).filter(({ control }) => control !== undefined)
    expect(markers).toHaveLength(5)
    expect(markers[3]).toEqual({
      offset: expect.any(Number),
      timestampMs: expect.any(Number),
      control: 'abort',
      coordinatorEpoch: 0,
    })
  })

  it('verify tells good from damaged, to scripts too', async () => {
    cpSync(samples, directory, { recursive: true })
    const good = await naru(['log', 'verify', directory])
    expect(good).toMatchObject({ exitCode: 0, err: '' })
    expect(good.out.split('\n').filter(line => / ok$/.test(line))).toHaveLength(3)
    const file = join(directory, '00000000000000000000.log')
    const bytes = readFileSync(file)
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
    writeFileSync(file, bytes)
    const bad = await naru(['log', 'verify', directory, '-o', 'json'])
    expect(bad).toMatchObject({
      exitCode: 7,
      err: expect.stringMatching(/is damaged at byte \d+: the CRC is/),
    })
    expect(JSON.parse(bad.out)[0].defects).toHaveLength(1)
    expect(await naru('log verify gone')).toMatchObject({
      exitCode: 2,
      err: 'naru: there is no file or directory gone (INVALID_REQUEST)\n',
    })
  })
})

describe('errors of the cluster', () => {
  it('are one sentence with the reason', async () => {
    client.admin = () => {
      throw new NaruError('CONNECTION_FAILED', 'no node answers at 127.0.0.1:7450 (start one: naru dev)')
    }
    expect(await naru('topics create a')).toMatchObject({
      exitCode: 5,
      err: 'naru: no node answers at 127.0.0.1:7450 (start one: naru dev) (CONNECTION_FAILED)\n',
    })
  })
})
