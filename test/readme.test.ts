import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { comparable, consoleCommands } from './docs/console-block.ts'
import { codeBlocks } from './docs/markdown.ts'
import { Shell } from './docs/shell.ts'

/**
 * Runs everything that the README tells its reader to run, in its order, in a directory that looks like a clone, and
 * compares what comes out with what the README shows. Ports are free ones instead of the usual.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const TIMEOUT_MS = 120_000

/** What a shell says, some time later, of a process that was killed. */
const JOB_ENDED = /^bash: line \d+: +\d+ (Killed|Terminated)\b/

const clone = realpathSync(mkdtempSync(join(tmpdir(), 'naru-readme-')))
let environment: NodeJS.ProcessEnv
let address: string
let shell: Shell
let node: ChildProcess | undefined

beforeAll(async () => {
  const names = ['bin', 'dist', 'docs', 'examples', 'node_modules', 'package.json', 'proto', 'test']
  for (const name of names) symlinkSync(join(ROOT, name), join(clone, name))
  const [clientPort, httpPort] = await freePorts()
  address = `127.0.0.1:${clientPort}`
  environment = {
    ...withoutNaru(process.env),
    NARU_CLIENT_PORT: String(clientPort),
    NARU_HTTP_PORT: String(httpPort),
    NARU_BOOTSTRAP: address,
    // The machine that runs the tests may be nearly full: what the node does then is tested elsewhere.
    NARU_DISK_FREE_MIN: '0',
  }
  shell = new Shell({ cwd: clone, env: environment })
})

afterAll(async () => {
  await shell.close()
  await stopNode()
  rmSync(clone, { recursive: true, force: true })
})

describe('the README', () => {
  it('has two commands to begin with, which npm and the merge checks know', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const checks = readFileSync(join(ROOT, '.ci/run'), 'utf8')
    const commands = section('Run it').flatMap(block => consoleCommands(block.text).map(one => one.command))
    expect(commands).toEqual(['npm ci && npm start', 'npm ci && npm test'])
    // `npm start` ends in the command that this test starts its node with; the rest of it is the build.
    expect(scripts.start).toMatch(/ build && node bin\/naru\.js dev$/)
    expect(scripts.test).toBe('vitest run')
    expect(scripts.pretest).toContain('build')
    expect(checks).toMatch(/npm ci\b/)
    expect(checks).toMatch(/npm test\b/)
  })

  it('runs its five minutes', { timeout: TIMEOUT_MS }, async () => {
    await withNode(() => runConsole('Five minutes'))
  })

  it('survives what it does to the node', { timeout: TIMEOUT_MS }, async () => {
    try {
      await runConsole('Kill it')
    } finally {
      await shell.run('kill $!; wait')
    }
  })

  it('has TypeScript that compiles and prints what it says', { timeout: TIMEOUT_MS }, async () => {
    await withNode(() => runTypeScript('From TypeScript and JavaScript'))
  })

  it('calls the API without the SDK', { timeout: TIMEOUT_MS }, async () => {
    await withNode(() => runConsole('From any other language'))
  })

  it('has no other block that nobody runs', () => {
    const known = [
      'Run it',
      'Five minutes',
      'Kill it',
      'From TypeScript and JavaScript',
      'From any other language',
    ]
    const seen = known.flatMap(section).map(block => block.text)
    expect(codeBlocks(README).map(block => block.text)).toEqual(seen)
  })
})

async function runConsole(title: string): Promise<void> {
  for (const block of section(title)) {
    expect(block.language).toBe('console')
    for (const { command, output } of consoleCommands(block.text)) {
      const ran = await shell.run(here(command))
      const printed = ran.output.split('\n').filter(line => line !== '' && !JOB_ENDED.test(line))
      expect(printed.map(comparable), command).toEqual(output.map(comparable))
      expect(ran.status, command).toBe(0)
    }
  }
}

/** Compiles strictly, the package's own declarations included, then runs what came out. */
function runTypeScript(title: string): void {
  const project = join(clone, 'project')
  mkdirSync(join(project, 'node_modules'), { recursive: true })
  symlinkSync(ROOT, join(project, 'node_modules/naru'))
  symlinkSync(join(ROOT, 'node_modules/@types'), join(project, 'node_modules/@types'))
  const blocks = section(title)
  for (let i = 0; i < blocks.length; i += 2) {
    const [source, output] = [blocks[i], blocks[i + 1]]
    expect([source?.language, output?.language]).toEqual(['ts', 'text'])
    const name = `block-${i}`
    writeFileSync(join(project, `${name}.mts`), here(source?.text ?? ''))
    const flags = '--strict --noUncheckedIndexedAccess --target es2022'
    const modules = '--module nodenext --types node --lib es2023,esnext.disposable'
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    execute(compiler, [...`${flags} ${modules}`.split(' '), `${name}.mts`], project)
    expect(execute(`${name}.mjs`, [], project).trimEnd().split('\n')).toEqual(output?.text.split('\n'))
  }
}

function execute(script: string, flags: readonly string[], cwd: string): string {
  const ran = spawnSync(process.execPath, [script, ...flags], { cwd, env: environment, encoding: 'utf8' })
  expect(ran.status, `${script}: ${ran.stdout}${ran.stderr}`).toBe(0)
  return ran.stdout
}

/** With the node that `npm start` runs, stopped as Ctrl-C does. */
async function withNode(work: () => void | Promise<void>): Promise<void> {
  await startNode()
  try {
    await work()
  } finally {
    await stopNode()
  }
}

async function startNode(): Promise<void> {
  const started = spawn(process.execPath, ['bin/naru.js', 'dev'], { cwd: clone, env: environment })
  node = started
  let printed = ''
  await new Promise<void>((resolve, reject) => {
    const onText = (text: Buffer) => {
      printed += text
      if (printed.includes('Naru is running')) resolve()
    }
    started.stdout.on('data', onText)
    started.stderr.on('data', onText)
    started.once('exit', () => reject(new Error(`the node ended: ${printed}`)))
  })
}

async function stopNode(): Promise<void> {
  if (!node || node.exitCode !== null) return
  const exited = once(node, 'exit')
  node.kill('SIGINT')
  expect(await exited).toEqual([0, null])
  node = undefined
}

/** The blocks under a heading. */
function section(title: string) {
  const text = README.split(/^## /m).find(part => part.startsWith(`${title}\n`))
  expect(text, `a section "${title}"`).toBeDefined()
  return codeBlocks(text ?? '')
}

function here(text: string): string {
  return text.replaceAll('127.0.0.1:7450', address)
}

function withoutNaru(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !name.startsWith('NARU_')))
}

async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()]
  const ports: number[] = []
  for (const server of servers) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ports.push((server.address() as { port: number }).port)
  }
  for (const server of servers) server.close()
  return [ports[0] ?? 0, ports[1] ?? 0]
}
