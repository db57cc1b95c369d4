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
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { comparable, consoleCommands } from './docs/console-block.ts'
import { codeBlocks } from './docs/markdown.ts'
import { Shell } from './docs/shell.ts'
import { freePortRows } from './harness/free-ports.ts'

/**
 * Runs everything that the README tells its reader to run, in its order, in a directory that looks like a clone, and
 * compares what comes out with what the README shows. Ports are free ones instead of the usual. One cluster serves all
 * of it, as it does for the reader.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const TIMEOUT_MS = 240_000
const NODES = 3
/** What these show follows the cluster, which needs a moment to notice and to heal. */
const LOOKS_AT_CLUSTER = /^naru (cluster status|topics describe|log verify)\b/
const NOTICE_TIMEOUT_MS = 60_000
/** What `npm start` runs, the build aside. */
const DEV = ['bin/naru.js', 'dev']

const clone = realpathSync(mkdtempSync(join(tmpdir(), 'naru-readme-')))
let environment: NodeJS.ProcessEnv
let portBase: number
let shell: Shell
let running: ChildProcess | undefined

beforeAll(async () => {
  const names = ['bin', 'dist', 'docs', 'examples', 'node_modules', 'package.json', 'proto', 'test']
  for (const name of names) symlinkSync(join(ROOT, name), join(clone, name))
  portBase = await freePortRows(NODES)
  environment = {
    ...withoutNaru(process.env),
    NARU_BOOTSTRAP: `127.0.0.1:${portBase}`,
    // The machine that runs the tests may be nearly full: what the node does then is tested elsewhere.
    NARU_DISK_FREE_MIN: '0',
  }
  shell = new Shell({ cwd: clone, env: environment })
  await startDev()
}, TIMEOUT_MS)

afterAll(async () => {
  await shell.close()
  await stopDev()
  rmSync(clone, { recursive: true, force: true })
}, TIMEOUT_MS)

describe('the README', () => {
  it('has two commands to begin with, which npm and the merge checks know', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const checks = readFileSync(join(ROOT, '.ci/run'), 'utf8')
    const commands = section('Run it').flatMap(block => consoleCommands(block.text).map(one => one.command))
    expect(commands).toEqual(['npm ci && npm start', 'npm ci && npm test'])
    // `npm start` ends in the command that this test starts its nodes with; the rest of it is the build.
    expect(scripts.start.endsWith(` build && node ${DEV.join(' ')}`)).toBe(true)
    expect(scripts.test).toBe('vitest run')
    expect(scripts.pretest).toContain('build')
    expect(checks).toMatch(/npm ci\b/)
    expect(checks).toMatch(/npm test\b/)
  })

  it('runs its tour of a cluster', { timeout: TIMEOUT_MS }, () => runConsole('A cluster in one terminal'))

  it('runs its five minutes', { timeout: TIMEOUT_MS }, () => runConsole('Five minutes'))

  it('survives what it does to a node', { timeout: TIMEOUT_MS }, () => runConsole('Kill it'))

  it('has TypeScript that compiles and prints what it says', { timeout: TIMEOUT_MS }, () => {
    runTypeScript('From TypeScript and JavaScript')
  })

  it('shares partitions as it says', { timeout: TIMEOUT_MS }, () => runTypeScript('Consumer groups'))

  it('calls the API without the SDK', { timeout: TIMEOUT_MS }, () => runConsole('From any other language'))

  it('has no other block that nobody runs', () => {
    const known = [
      'Run it',
      'A cluster in one terminal',
      'Five minutes',
      'Kill it',
      'From TypeScript and JavaScript',
      'Consumer groups',
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
      const expected = { printed: output.filter(isText).map(line => comparable(here(line))), status: 0 }
      if (!LOOKS_AT_CLUSTER.test(command)) expect(await runLine(command), command).toEqual(expected)
      // Whoever types fast looks again.
      else await expect.poll(() => runLine(command), { timeout: NOTICE_TIMEOUT_MS }).toEqual(expected)
    }
  }
}

async function runLine(command: string): Promise<{ printed: string[]; status: number }> {
  const { output, status } = await shell.run(here(command))
  return { printed: output.split('\n').filter(isText).map(comparable), status }
}

function isText(line: string): boolean {
  return line !== ''
}

/** Compiles strictly, the package's own declarations included, then runs what came out. */
function runTypeScript(title: string): void {
  const project = mkdtempSync(join(clone, 'project-'))
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

async function startDev(): Promise<void> {
  const parameters = [...DEV, '--port-base', String(portBase)]
  const started = spawn(process.execPath, parameters, { cwd: clone, env: environment })
  running = started
  let printed = ''
  await new Promise<void>((resolve, reject) => {
    const onText = (text: Buffer) => {
      printed += text
      if (printed.includes('Naru is running')) resolve()
    }
    started.stdout.on('data', onText)
    started.stderr.on('data', onText)
    started.once('exit', () => reject(new Error(`naru dev ended: ${printed}`)))
  })
}

/** As Ctrl-C does. */
async function stopDev(): Promise<void> {
  if (!running || running.exitCode !== null) return
  const exited = once(running, 'exit')
  running.kill('SIGINT')
  expect(await exited).toEqual([0, null])
  running = undefined
}

/** The blocks under a heading. */
function section(title: string) {
  const text = README.split(/^## /m).find(part => part.startsWith(`${title}\n`))
  expect(text, `a section "${title}"`).toBeDefined()
  return codeBlocks(text ?? '')
}

/** With the ports that are used here instead of 7450, 7460 and so on. */
function here(text: string): string {
  return text.replaceAll(/\b(127\.0\.0\.1|localhost):74([5-9]\d)\b/g, (_, host: string, port: string) => {
    return `${host}:${portBase + Number(port) - 50}`
  })
}

function withoutNaru(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !name.startsWith('NARU_')))
}
