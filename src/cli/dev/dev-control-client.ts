import { CommandError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import type { ControlAnswer, DevAction } from './dev-control.ts'
import type { ControlAddress, DevDirectory } from './dev-directory.ts'
import type { DevNodeStatus } from './dev-node.ts'

const PING_TIMEOUT_MS = 2_000

/** Talks to the `naru dev` that runs in a directory. */
export class DevControlClient {
  readonly #address: ControlAddress

  private constructor(address: ControlAddress) {
    this.#address = address
  }

  /** Undefined: none runs there. A file that a killed one left behind is seen as that. */
  static async find(directory: DevDirectory): Promise<DevControlClient | undefined> {
    const address = directory.readControl()
    if (!address) return undefined
    const client = new DevControlClient(address)
    try {
      await client.#call('status', PING_TIMEOUT_MS)
      return client
    } catch (error) {
      if (!isAlive(address.pid) || isRefused(error)) return undefined
      throw new CommandError(
        `naru dev in ${directory.path} (pid ${address.pid}) does not answer: is it suspended (Ctrl-Z)? Wake it with fg, or end it`,
        EXIT_CODES.tryAgain,
      )
    }
  }

  async status(): Promise<readonly DevNodeStatus[]> {
    return (await this.#call('status', PING_TIMEOUT_MS)).nodes ?? []
  }

  /** Resolves with what to tell. */
  async act(action: DevAction, nodeId?: number): Promise<string> {
    const query = nodeId === undefined ? '' : `?node=${nodeId}`
    return (await this.#call(`${action}${query}`)).told ?? ''
  }

  get pid(): number {
    return this.#address.pid
  }

  async #call(path: string, timeoutMs?: number): Promise<ControlAnswer> {
    const { port, token } = this.#address
    const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      ...(timeoutMs !== undefined && { signal: AbortSignal.timeout(timeoutMs) }),
    })
    if (!response.ok) throw new OtherServer(`port ${port} is another program's`)
    const answer = (await response.json()) as ControlAnswer
    if (answer.failed) throw new CommandError(answer.failed.message, answer.failed.exitCode)
    return answer
  }
}

/** Somebody else got the port after a `naru dev` that was killed. */
class OtherServer extends Error {}

function isRefused(error: unknown): boolean {
  if (error instanceof OtherServer) return true
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined
  return cause?.code === 'ECONNREFUSED'
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
