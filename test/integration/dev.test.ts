import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { freePortRows } from '../harness/free-ports.ts'

/** `naru dev` as a user runs it: real nodes, signals, and kills of the program itself. */
const NARU = fileURLToPath(new URL('../../bin/naru.js', import.meta.url))
const START_TIMEOUT_MS = 60_000
const TEST_TIMEOUT_MS = 120_000

let directory: string
let environment: NodeJS.ProcessEnv
let portBase: number
let dev: ChildProcess | undefined
let printed = ''
const seenPids: number[] = []

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'naru-dev-'))
  portBase = await freePortRows(3)
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('NARU_'))
  environment = {
    ...Object.fromEntries(own),
    NARU_BOOTSTRAP: [0, 10, 20].map(port => `127.0.0.1:${portBase + port}`).join(','),
    NARU_DISK_FREE_MIN: '0',
  }
})

afterEach(async () => {
  if (dev && dev.exitCode === null && dev.signalCode === null) {
    const exited = once(dev, 'exit')
    dev.kill('SIGTERM')
    await exited
  }
  // Those of a test that failed because they were left behind.
  for (const pid of seenPids.filter(isAlive)) process.kill(pid, 'SIGKILL')
  seenPids.length = 0
  rmSync(directory, { recursive: true, force: true })
})

async function start(...words: string[]): Promise<ChildProcess> {
  printed = ''
  const started = spawn(process.execPath, [NARU, 'dev', '--port-base', String(portBase), ...words], {
    cwd: directory,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  dev = started
  for (const output of [started.stdout, started.stderr]) {
    output.setEncoding('utf8').on('data', text => {
      printed += text
    })
  }
  await expect
    .poll(() => printed.includes('Naru is running') || started.exitCode !== null, {
      timeout: START_TIMEOUT_MS,
    })
    .toBe(true)
  expect(printed).toContain('Naru is running')
  return started
}

function naru(...words: string[]): { status: number | null; out: string; err: string } {
  const options = { cwd: directory, env: environment, encoding: 'utf8' } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [NARU, ...words], options)
  return { status, out: stdout, err: stderr }
}

function pids(): number[] {
  const nodes: { pid: number }[] = JSON.parse(naru('dev', 'status', '-o', 'json').out)
  const found = nodes.map(node => node.pid)
  seenPids.push(...found)
  return found
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function topics(): string {
  return naru('topics', 'list').out
}

it('is one cluster, which goes on when a node is killed and is whole when it is back', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  await start()
  const status = () => JSON.parse(naru('cluster', 'status', '-o', 'json').out)
  expect(status()).toMatchObject({
    cluster: { nodes: [{ nodeId: 1 }, { nodeId: 2 }, { nodeId: 3 }] },
    findings: [],
  })
  const { controller } = status().cluster
  expect(naru('dev', 'kill', String(controller)).status).toBe(0)
  expect(naru('topics', 'create', 'made-without-it', '--replication-factor', '1')).toMatchObject({
    status: 0,
  })
  expect(naru('dev', 'restart', String(controller)).status).toBe(0)
  await expect.poll(() => status().findings, { timeout: START_TIMEOUT_MS }).toEqual([])
  expect(topics()).toContain('made-without-it')
})

it('keeps its data from start to start, also with other ports, until it begins anew', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const first = await start('--nodes', '1')
  expect(naru('topics', 'create', 'kept')).toMatchObject({ status: 0 })
  const exited = once(first, 'exit')
  first.kill('SIGINT')
  expect(await exited).toEqual([0, null])
  portBase = await freePortRows(1)
  environment['NARU_BOOTSTRAP'] = `127.0.0.1:${portBase}`
  await start()
  expect(topics()).toContain('kept')
  expect(naru('dev', 'stop').status).toBe(0)
  await start('--fresh', '--nodes', '1')
  expect(topics()).not.toContain('kept')
})

it('leaves no process behind when it is killed, not even a paused one', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const killed = await start()
  const nodes = pids()
  expect(nodes.filter(isAlive)).toHaveLength(3)
  expect(naru('dev', 'pause', '2').status).toBe(0)
  const exited = once(killed, 'exit')
  killed.kill('SIGKILL')
  await exited
  await expect.poll(() => nodes.filter(isAlive), { timeout: START_TIMEOUT_MS }).toEqual([])
  // What it left in its directory keeps nobody from starting again.
  await start()
  expect(naru('cluster', 'status', '--check').status).toBe(0)
})

it('tells of a node that was killed by somebody else', { timeout: TEST_TIMEOUT_MS }, async () => {
  await start('--nodes', '1')
  process.kill(pids()[0] as number, 'SIGKILL')
  await expect.poll(() => printed).toContain('node 1 | ENDED BY ITSELF by signal SIGKILL; it said last:')
  expect(naru('dev', 'restart', '1').out).toMatch(/^node 1 serves again/)
})
