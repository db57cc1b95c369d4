import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { REPOSITORY } from './child-processes.ts'
import { javaVersion } from './kafka-anchor.ts'

/** What a figure means nothing without. */
export interface MachineFacts {
  readonly at: string
  readonly commit: string
  readonly node: string
  readonly processor: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  /** Type and device of the file system that the data is on. */
  readonly disk: string
  readonly java: string | undefined
}

export function machineFacts(options: { scratch: string; withJava: boolean }): MachineFacts {
  return {
    at: new Date().toISOString(),
    commit: commitName(),
    node: process.version,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    disk: fileSystemOf(options.scratch),
    java: options.withJava ? javaVersion() : undefined,
  }
}

/** A sync to memory costs nothing: such a run would flatter. */
export function isInMemory(facts: MachineFacts): boolean {
  return /^(tmpfs|ramfs)\b/.test(facts.disk)
}

function fileSystemOf(path: string): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .trim()
    .split('\n')
    .map(line => line.split(' '))
    .filter(([, place = '']) => path === place || path.startsWith(place === '/' ? '/' : `${place}/`))
    .sort((a, b) => (b[1]?.length ?? 0) - (a[1]?.length ?? 0))
  const [device, , type] = mounts[0] ?? []
  return `${type ?? 'unknown'} on ${device ?? 'unknown'}`
}

export function commitName(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: REPOSITORY,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'not a clone'
  }
}
