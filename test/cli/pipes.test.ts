import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NARU = `"${process.execPath}" --import tsx src/cli/main.ts`

/** A command line of a shell, with the exit code of its first program at the end of what is printed. */
function shell(line: string): { out: string; err: string } {
  const { stdout, stderr } = spawnSync('bash', ['-c', `${line}; echo "exit \${PIPESTATUS[0]}"`], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { out: stdout, err: stderr }
}

it('a reader that has seen enough ends a long output without a word', () => {
  expect(shell(`${NARU} log dump --records test/data/kafka-batches | head -1`)).toEqual({
    out: expect.stringMatching(/^\{"offset":0,.*\}\nexit 0\n$/),
    err: '',
  })
})

it('a reader that went away at once is no error of a short output', () => {
  expect(shell(`${NARU} config docs | exec true`)).toEqual({ out: 'exit 0\n', err: '' })
})

it('output that cannot be written is an error', () => {
  expect(shell(`${NARU} config docs > /dev/full`)).toEqual({
    out: 'exit 1\n',
    err: expect.stringMatching(/^naru: cannot write the output: .*ENOSPC/),
  })
})
