import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BenchOptions } from './options.ts'
import { ProcessorWindow, type WindowUsage } from './processor-time.ts'
import { isDisturbed, type Sample } from './samples.ts'

type Label = Pick<Sample, 'what' | 'system' | 'variant' | 'repeat'>

/** What the scenarios share: the options, a place for data, and the samples so far, told as they come. */
export class BenchRun {
  readonly options: BenchOptions
  readonly samples: Sample[] = []
  readonly #directory: string

  constructor(options: BenchOptions, directory: string) {
    this.options = options
    this.#directory = directory
  }

  /** A data directory of that name below the temporary one. */
  place(name: string): string {
    return join(this.#directory, name)
  }

  /** Runs `work` and measures who had the processors meanwhile; `pid`'s share is told too. */
  async window<Result>(
    work: () => Promise<Result>,
    pid?: number,
  ): Promise<{ result: Result; usage: WindowUsage }> {
    // What the turn before left unwritten in the page cache would be charged to this one, whose syncs wait for the disk.
    await promisify(execFile)('sync')
    const window = new ProcessorWindow(pid)
    const result = await work()
    return { result, usage: window.end() }
  }

  add(label: Label, unit: Sample['unit'], value: number, usage?: WindowUsage): void {
    const sample = { ...label, unit, value, stealPercent: usage?.stealPercent }
    this.samples.push(sample)
    const { what, system, variant, repeat } = label
    const steal = usage === undefined ? '' : `  steal ${usage.stealPercent.toFixed(0)} %`
    const mark = isDisturbed(sample) ? '  DISTURBED' : ''
    const name = [what, variant, system].filter(one => one !== '').join(', ')
    console.log(`  ${name} (${repeat + 1}): ${formatValue(value)} ${unit}${steal}${mark}`)
  }

  /** How much of a core the server used while the load ran, which is shorter than the window of its whole process. */
  addServerTime(label: Label, usage: WindowUsage, loadMs: number): void {
    const what = `${label.what}: processor of the server`
    this.add({ ...label, what }, '% of a core', (100 * usage.processMs) / loadMs, usage)
  }

  /** Heading of what comes next. */
  say(text: string): void {
    console.log(`\n${text}`)
  }
}

export function formatValue(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return value >= 100 ? value.toFixed(0) : value.toFixed(2)
}
