import { PassThrough, Readable } from 'node:stream'
import { beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { run } from '../../src/cli/program.ts'
import { FakeClient } from './fake-client.ts'

let client: FakeClient
beforeEach(() => {
  client = new FakeClient()
})

/** Each look at the clock is half a second after the one before. */
async function perf(line: string) {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  let nowMs = 0
  const context: CliContext = {
    environment: {},
    stdin: Readable.from([]),
    stdout,
    stderr,
    command: 'naru',
    program: [],
    connect: async () => client.asClient(),
    runNode: async () => {},
    monotonicMs: () => {
      nowMs += 500
      return nowMs
    },
    onInterrupt: () => {},
  }
  const exitCode = await run(['perf', ...line.split(' ')], context)
  return { exitCode, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') }
}

describe('perf produce', () => {
  it('stores so many records, waits for room and for the last acknowledgement', async () => {
    const { exitCode, out } = await perf('produce t --records 10 --record-bytes 7 -o json')
    expect(exitCode).toBe(EXIT_CODES.ok)
    expect(JSON.parse(out)).toMatchObject({ records: 10, bytes: 70 })
    expect(client.records.map(record => record.value?.length)).toEqual(Array(10).fill(7))
    expect(client.readyCalls).toBe(3)
    expect(client.calls).toContainEqual(['flush'])
  })

  it('spreads records over partitions one by one when asked', async () => {
    await perf('produce t --records 5 --spread 2')
    expect(client.records.map(record => record.partition)).toEqual([0, 1, 0, 1, 0])
  })

  it('ends with the time when one is given', async () => {
    client.fullEvery = 1
    const { out } = await perf('produce t --seconds 2 -o json')
    // One record at a time, at 1.0 and 1.5 and 2.0 seconds after a start at 0.5.
    expect(JSON.parse(out)).toMatchObject({ records: 3 })
  })

  it('ends with the first failure, and counts only what was stored', async () => {
    client.fullEvery = 1
    client.refuses = () => (client.records.length === 2 ? new NaruError('DISK_FULL', 'full') : undefined)
    const { exitCode, out, err } = await perf('produce t --records 10')
    expect({ exitCode, out, err }).toEqual({
      exitCode: EXIT_CODES.tryAgain,
      out: '',
      err: 'produced 2 records, 1 failed\nnaru: full (DISK_FULL)\n',
    })
  })

  it('ends at one of them', async () => {
    const { exitCode, err } = await perf('produce t --seconds 2 --records 5')
    expect(exitCode).toBe(EXIT_CODES.usage)
    expect(err).toContain('--records and --seconds are both given')
  })
})

describe('perf consume', () => {
  it('counts what it reads', async () => {
    await perf('produce t --records 10 --record-bytes 7')
    const { out } = await perf('consume t -o json')
    expect(JSON.parse(out)).toEqual({
      records: 10,
      bytes: 70,
      elapsedMs: 500,
      recordsPerSecond: 20,
      bytesPerSecond: 140,
    })
    expect((await perf('consume t')).out).toBe('consumed 10 records in 0.50 s (20 records/s, 140 B/s)\n')
  })
})
