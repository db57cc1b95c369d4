import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
export const NARU = fileURLToPath(new URL('../../bin/naru.js', import.meta.url))

/** What is to be ended however this program ends. */
const endings = new Set<() => void>()
process.once('exit', () => {
  for (const end of endings) end()
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

/** Runs `end` when this program exits, unless the returned function was called before. */
export function atExit(end: () => void): () => void {
  endings.add(end)
  return () => endings.delete(end)
}

export function killedAtExit(child: ChildProcess): void {
  const forget = atExit(() => child.kill('SIGKILL'))
  child.once('exit', forget)
}

/** Without what the caller's shell says about other nodes. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NARU_')))
}

/** Runs a program to its end and returns what it printed; throws with its complaint otherwise. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<string> {
  const child = spawn(command, args, {
    cwd: REPOSITORY,
    env: options.env ?? cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? PROGRAM_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  killedAtExit(child)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  const [status, signal] = await once(child, 'close')
  if (status === 0) return Buffer.concat(out).toString()
  const said = `${Buffer.concat(out)}${Buffer.concat(err)}`.trim().split('\n').slice(-8).join('\n')
  throw new Error(`${command} ${args.join(' ')} ended with ${status ?? signal}:\n${said}`)
}

const PROGRAM_TIMEOUT_MS = 300_000
