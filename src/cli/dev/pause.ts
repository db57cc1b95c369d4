import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { CommandError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'

/**
 * A process stopped with SIGSTOP, until `end` or the end of this process, however it comes: a stopped process cannot
 * notice that it was left alone, and would stay for ever. So a shell waits on a pipe for it, and wakes it when the pipe
 * closes; in a session of its own, where Ctrl-C does not reach it.
 */
export class Pause {
  readonly #watch: ChildProcess

  private constructor(watch: ChildProcess) {
    this.#watch = watch
  }

  static async begin(paused: ChildProcess): Promise<Pause> {
    if (process.platform === 'win32') {
      throw new CommandError('this system cannot pause a process', EXIT_CODES.failed)
    }
    const watch = spawn('sh', ['-c', 'echo; read _; kill -CONT "$0" 2>/dev/null', String(paused.pid)], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    })
    // Its pipe breaks only if it has ended, and then it has woken the process.
    watch.stdin.on('error', () => {})
    await Promise.race([once(watch.stdout, 'data'), once(watch, 'close')])
    paused.kill('SIGSTOP')
    return new Pause(watch)
  }

  end(): void {
    this.#watch.stdin?.end()
  }
}
