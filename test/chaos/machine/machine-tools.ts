import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const NATIVE = fileURLToPath(new URL('native', import.meta.url))
/** Followed by the id of the process that made it; what a dead one left is removed. */
const PREFIX = 'naru-chaos-'
const FAKETIME = [
  '/usr/lib/x86_64-linux-gnu/faketime',
  '/usr/lib/aarch64-linux-gnu/faketime',
  '/usr/lib/faketime',
]

/** What this machine allows; what is undefined is left out, with a reason in `leftOut`. */
export interface MachineTools {
  /** Removed at the end. */
  readonly directory: string
  readonly hasNamespaces: boolean
  readonly cutPower: string | undefined
  readonly faultyDisk: string | undefined
  readonly delayPackets: string | undefined
  readonly fakeTime: string | undefined
  readonly leftOut: readonly string[]
  remove(): void
}

export interface ToolsOptions {
  /** As if this user were not root. */
  readonly withoutRoot?: boolean
}

/** Removes what earlier runs left, looks around, and compiles the little programs of `native`. */
export async function prepareTools({ withoutRoot = false }: ToolsOptions = {}): Promise<MachineTools> {
  const isRoot = process.getuid?.() === 0 && !withoutRoot
  removeLeftovers()
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  const leftOut: string[] = []
  const need = (isThere: boolean, what: string, why: string): boolean => {
    if (!isThere) leftOut.push(`${what}: ${why}`)
    return isThere
  }
  const hasCompiler = isCommand('gcc')
  const hasNamespaces =
    need(
      isRoot,
      'network namespaces, packet loss',
      'needs root; a proxy of our own cuts and delays instead',
    ) &&
    need(
      isCommand('ip') && isCommand('iptables-restore'),
      'network namespaces',
      'needs iproute2 and iptables',
    )
  const compiled = async (source: string, flags: readonly string[] = []): Promise<string> => {
    const target = join(directory, source.replace('.c', ''))
    await run('gcc', ['-O2', ...flags, '-o', target, join(NATIVE, source), '-ldl'])
    return target
  }
  const hasImages =
    need(isRoot, 'power cuts, full disks', 'an ext4 file system per node needs root') &&
    need(hasCompiler && isCommand('mkfs.ext4'), 'power cuts, full disks', 'needs gcc and e2fsprogs')
  const canShim = need(hasCompiler, 'failing and slow syncs', 'the shim needs gcc')
  const fakeTime = FAKETIME.map(folder => join(folder, 'libfaketimeMT.so.1')).find(isReadable)
  need(fakeTime !== undefined, 'clock steps', 'needs libfaketime (package faketime)')
  return {
    directory,
    hasNamespaces,
    cutPower: hasImages ? await compiled('cut-power.c') : undefined,
    faultyDisk: canShim ? await compiled('faulty-disk.c', ['-shared', '-fPIC']) : undefined,
    delayPackets: hasNamespaces && hasCompiler ? await compiled('delay-packets.c') : undefined,
    fakeTime,
    leftOut,
    remove: () => removeOf(process.pid),
  }
}

/** Resolves with its standard output; rejects with what it said. */
export async function run(command: string, args: readonly string[]): Promise<string> {
  return (await execute(command, [...args])).stdout
}

/** With a text on its standard input. */
export function runWith(input: string, command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, [...args], { input, encoding: 'utf8' })
  if (status !== 0) throw error ?? new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

/** Names of namespaces, links and directories of this process. */
export function ownName(suffix: string): string {
  return `nc${process.pid}-${suffix}`
}

/** Everything of runs whose process is gone: they were killed before they could clean up. */
function removeLeftovers(): void {
  const found = new Set<number>()
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined) found.add(Number(pid))
  }
  for (const pid of found) if (!isAlive(pid)) removeOf(pid)
}

/** Never throws: it is called at signals, and a second time. */
function removeOf(pid: number): void {
  const quiet = (command: string, args: readonly string[]) =>
    spawnSync(command, [...args], { encoding: 'utf8' }).stdout ?? ''
  if (process.getuid?.() === 0) {
    for (const line of quiet('ip', ['netns', 'list']).split('\n')) {
      const name = line.split(' ')[0] ?? ''
      if (!name.startsWith(`nc${pid}-`)) continue
      for (const one of quiet('ip', ['netns', 'pids', name]).split('\n'))
        if (one !== '') endProcess(Number(one))
      quiet('ip', ['netns', 'delete', name])
    }
    quiet('ip', ['link', 'delete', `nc${pid}-b`])
    const mounts = quiet('cat', ['/proc/mounts']).split('\n')
    for (const line of mounts) {
      const place = line.split(' ')[1] ?? ''
      if (place.startsWith(join(tmpdir(), `${PREFIX}${pid}-`))) quiet('umount', ['--lazy', place])
    }
  }
  for (const name of readdirSync(tmpdir()))
    if (name.startsWith(`${PREFIX}${pid}-`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true, maxRetries: 3 })
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It is gone already.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isCommand(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`]).status === 0
}

function isReadable(path: string): boolean {
  return spawnSync('test', ['-r', path]).status === 0
}
