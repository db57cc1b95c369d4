import { readFileSync } from 'node:fs'
import { median } from './samples.ts'

const INTERVAL_MS = 250

/** Resident memory of a process in MB (10^6 bytes), now and at its highest so far. */
export function residentMemory(pid: number): { nowMb: number; peakMb: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const mb = (field: string) =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024) / 1e6
  return { nowMb: mb('VmRSS'), peakMb: mb('VmHWM') }
}

/** Looks again and again while a load runs. */
export class MemorySampler {
  readonly #values: number[] = []
  readonly #timer: NodeJS.Timeout

  constructor(pid: number) {
    this.#timer = setInterval(() => this.#values.push(residentMemory(pid).nowMb), INTERVAL_MS)
  }

  /** The median of what was seen. */
  end(): number {
    clearInterval(this.#timer)
    return median(this.#values.sort((a, b) => a - b))
  }
}
