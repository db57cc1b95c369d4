import { CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { explain, UsageError } from '../../src/cli/errors.ts'
import { formatBytes, formatTable, plural } from '../../src/cli/output.ts'

describe('tables', () => {
  it('align numbers to the right and leave no blanks at line ends', () => {
    const rows = [
      { name: 'logs', count: 3 },
      { name: 'a', count: 12 },
    ]
    const columns = [
      { title: 'TOPIC', value: (row: (typeof rows)[number]) => row.name },
      { title: 'PARTITIONS', value: (row: (typeof rows)[number]) => row.count },
    ]
    expect(formatTable(columns, rows)).toBe('TOPIC  PARTITIONS\nlogs            3\na              12')
    expect(formatTable(columns, [])).toBe('TOPIC  PARTITIONS')
  })

  it('say sizes and counts as people do', () => {
    expect([formatBytes(1023), formatBytes(1536), formatBytes(268435456)]).toEqual([
      '1023 B',
      '1.5 KiB',
      '256.0 MiB',
    ])
    expect([plural(1, 'record'), plural(1000, 'record')]).toEqual(['1 record', '1,000 records'])
  })
})

describe('errors', () => {
  it('are one sentence with the reason, and an exit code for scripts', () => {
    const missing = new NaruError(
      'UNKNOWN_TOPIC',
      'topic "x" does not exist (create it: naru topics create x)',
    )
    expect(explain(missing)).toEqual({
      message: 'topic "x" does not exist (create it: naru topics create x) (UNKNOWN_TOPIC)',
      exitCode: 3,
    })
    expect(explain(new NaruError('TOPIC_ALREADY_EXISTS', 'x')).exitCode).toBe(4)
    expect(explain(new NaruError('CONNECTION_FAILED', 'x')).exitCode).toBe(5)
    expect(explain(new NaruError('UNKNOWN_OUTCOME', 'x')).exitCode).toBe(6)
    expect(explain(new NaruError('CORRUPT_DATA', 'x')).exitCode).toBe(7)
    expect(explain(new NaruError('INVALID_CONFIG', 'x')).exitCode).toBe(2)
    expect(explain(new NaruError('INTERNAL', 'x')).exitCode).toBe(1)
  })

  it('of the command line itself have no reason code, and help is no error', () => {
    expect(explain(new UsageError('give --file'))).toEqual({ message: 'give --file', exitCode: 2 })
    expect(explain(new CommanderError(1, 'commander.unknownOption', 'x')).exitCode).toBe(2)
    expect(explain(new CommanderError(0, 'commander.help', 'x')).exitCode).toBe(0)
  })

  it('of the system are told as they are, unforeseen ones with their stack', () => {
    const missing = Object.assign(new Error("ENOENT: no such file, open 'x'"), { code: 'ENOENT' })
    expect(explain(missing)).toEqual({ message: "ENOENT: no such file, open 'x'", exitCode: 1 })
    expect(explain(new TypeError('oops')).message).toMatch(/bug of Naru[\s\S]*output\.test\.ts/)
  })
})
