import type { Writable } from 'node:stream'
import { prettyLog } from '../../server/pretty-log.ts'

/** A terminal that takes nothing (Ctrl-S) must not fill the memory: what comes then is counted, not kept. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024
/** As pino numbers them. */
const LEVEL_WARN = 40
const LEVEL_ERROR = 50
/** Cyan, yellow, green, magenta, blue, and their bright kin: one for each node. */
const COLORS = [36, 33, 32, 35, 34, 96, 93, 92, 95]

/**
 * The logs of all nodes as one, each line after the name of its node, together with what `naru dev` has to say
 * itself. At first only errors are shown: nodes that start look for each other, and a start that goes well is not worth a
 * screen of warnings about that.
 */
export class MergedLog {
  readonly #stream: Writable
  readonly #isColored: boolean
  readonly #format: (line: string) => string
  #levelMin = LEVEL_ERROR
  #droppedLines = 0

  constructor(options: { stream: Writable; isColored: boolean }) {
    this.#stream = options.stream
    this.#isColored = options.isColored
    this.#format = prettyLog(options)
  }

  showWarnings(): void {
    this.#levelMin = Math.min(this.#levelMin, LEVEL_WARN)
  }

  showAll(): void {
    this.#levelMin = 0
  }

  /** A line that the node wrote. Returns it as it would be shown. */
  nodeLine(nodeId: number, line: string): string {
    const shown = this.#format(line)
    if (levelOf(line) >= this.#levelMin)
      this.#write(nameOf(nodeId), shown, COLORS[(nodeId - 1) % COLORS.length])
    return shown
  }

  /** What happened to a node, seen from outside. */
  nodeEvent(nodeId: number, text: string): void {
    this.#write(nameOf(nodeId), text, COLORS[(nodeId - 1) % COLORS.length])
  }

  note(text: string): void {
    this.#write('dev   ', text, undefined)
  }

  #write(name: string, text: string, color: number | undefined): void {
    const lines = text.split('\n')
    if (this.#stream.writableLength > PENDING_BYTES_MAX) {
      this.#droppedLines += lines.length
      return
    }
    if (this.#droppedLines > 0) {
      this.#stream.write(`dev    | ${this.#droppedLines} lines were not shown: the terminal took nothing\n`)
      this.#droppedLines = 0
    }
    const prefix =
      this.#isColored && color !== undefined ? `\u001b[${color}m${name} |\u001b[39m` : `${name} |`
    this.#stream.write(lines.map(line => `${prefix} ${line}\n`).join(''))
  }
}

function nameOf(nodeId: number): string {
  return `node ${nodeId}`
}

/** A line that is no document of the logger (a crash of the runtime, say) is always worth showing. */
function levelOf(line: string): number {
  try {
    const level = (JSON.parse(line) as { level?: unknown } | null)?.level
    return typeof level === 'number' ? level : Number.POSITIVE_INFINITY
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
