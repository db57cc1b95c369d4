import { type ChildProcess, spawn } from 'node:child_process'

/** A shell that runs one command after the other, as somebody at a terminal does. */
export class Shell {
  readonly #process: ChildProcess
  #output = ''
  #wake: () => void = () => {}

  constructor(options: { cwd: string; env: NodeJS.ProcessEnv }) {
    // Of its own group, so that what it leaves behind ends with it.
    this.#process = spawn('bash', { ...options, stdio: ['pipe', 'pipe', 'ignore'], detached: true })
    this.#process.stdout?.setEncoding('utf8').on('data', text => {
      this.#output += text
      this.#wake()
    })
    this.#process.on('exit', () => this.#wake())
    this.#process.stdin?.on('error', () => {})
    this.#process.stdin?.write('shopt -s expand_aliases\nexec 2>&1\n')
  }

  /** What the command printed, on both outputs, and its exit status. */
  async run(command: string): Promise<{ output: string; status: number }> {
    this.#output = ''
    this.#process.stdin?.write(`{ ${command}\n} </dev/null\nprintf '\\n${END} %s\\n' "$?"\n`)
    for (;;) {
      const end = ENDED.exec(this.#output)
      if (end) return { output: this.#output.slice(0, end.index), status: Number(end[1]) }
      if (this.#process.exitCode !== null) throw new Error(`the shell ended in: ${command}\n${this.#output}`)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Ends it with everything it started. */
  async close(): Promise<void> {
    const { pid, exitCode } = this.#process
    if (pid === undefined || exitCode !== null) return
    const exited = new Promise(resolve => this.#process.once('exit', resolve))
    process.kill(-pid, 'SIGKILL')
    await exited
  }
}

const END = 'end-of-command'
const ENDED = new RegExp(`\n${END} (\\d+)\n`)
