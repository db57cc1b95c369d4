import { readFileSync } from 'node:fs'

/** Jiffies a second of Linux on every machine that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100

export interface WindowUsage {
  readonly elapsedMs: number
  /** Taken by the hypervisor, of all cores' time. */
  readonly stealPercent: number
  /** Used by anybody on this machine, of all cores' time. */
  readonly busyPercent: number
  /** Processor time of the process that was named. */
  readonly processMs: number
}

/** Measures who had the processors between two moments. */
export class ProcessorWindow {
  readonly #startedMs = performance.now()
  readonly #machine = machineTicks()
  readonly #pid: number | undefined
  readonly #processTicks: number

  constructor(pid?: number) {
    this.#pid = pid
    this.#processTicks = pid === undefined ? 0 : processTicks(pid)
  }

  end(): WindowUsage {
    const now = machineTicks()
    const elapsedMs = performance.now() - this.#startedMs
    const total = Math.max(1, now.total - this.#machine.total)
    const percent = (ticks: number) => (100 * ticks) / total
    const ofProcess = this.#pid === undefined ? 0 : processTicks(this.#pid) - this.#processTicks
    return {
      elapsedMs,
      stealPercent: percent(now.steal - this.#machine.steal),
      busyPercent: percent(now.busy - this.#machine.busy),
      processMs: (1000 * ofProcess) / TICKS_PER_SECOND,
    }
  }
}

function machineTicks(): { total: number; steal: number; busy: number } {
  const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n')
  // user nice system idle iowait irq softirq steal; guest time is in user already.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number)
  const total = ticks.reduce((sum, one) => sum + one, 0)
  const [, , , idle = 0, iowait = 0, , , steal = 0] = ticks
  return { total, steal, busy: total - idle - iowait - steal }
}

function processTicks(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The name in parentheses may hold blanks; utime and stime are the 14th and 15th fields of the whole.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
