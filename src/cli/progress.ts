import { Presets, SingleBar } from 'cli-progress'

/**
 * A bar on standard error while something long runs, if that is a terminal; nothing at all otherwise, so that
 * logs and pipes stay clean. The drawing is throttled by the library: `advance` may be called per chunk.
 */
export interface Progress {
  advance(done: number): void
  stop(): void
}

export interface ProgressOptions {
  readonly label: string
  /** Undefined: not known (a pipe); then only what was done is shown. */
  readonly total: number | undefined
  readonly format: (done: number) => string
}

const SILENT: Progress = { advance: () => {}, stop: () => {} }

export function startProgress(
  options: ProgressOptions,
  terminal: NodeJS.WriteStream = process.stderr,
): Progress {
  if (!terminal.isTTY) return SILENT
  const { label, total, format } = options
  const bar = new SingleBar(
    {
      stream: terminal,
      clearOnComplete: true,
      hideCursor: true,
      // A bar that also ends by itself on a full count would print twice.
      stopOnComplete: false,
      format:
        total === undefined ? `${label} {done}` : `${label} [{bar}] {percentage}% {done} eta {eta_formatted}`,
    },
    Presets.shades_classic,
  )
  bar.start(total ?? 1, 0, { done: format(0) })
  return {
    advance: done => bar.update(total === undefined ? 0 : Math.min(done, total), { done: format(done) }),
    stop: () => bar.stop(),
  }
}
