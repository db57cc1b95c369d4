import { expect } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { MessageStream } from '../../src/ports/transport.ts'

/** One end of a stream with everything that happened on it. */
export class Recorded {
  readonly messages: Buffer[] = []
  readonly events: string[] = []
  readonly stream: MessageStream
  readonly closed: Promise<NaruError | undefined>
  closedWith: NaruError | undefined | 'open' = 'open'
  drains = 0
  onMessage: (message: Buffer) => void = () => {}
  onEnd: () => void = () => {}
  onDrain: () => void = () => {}

  constructor(stream: MessageStream) {
    this.stream = stream
    this.closed = new Promise(resolve => {
      stream.setHandlers({
        onMessage: message => {
          this.events.push('message')
          this.messages.push(message)
          this.onMessage(message)
        },
        onEnd: () => {
          this.events.push('end')
          this.onEnd()
        },
        onDrain: () => {
          this.drains++
          this.onDrain()
        },
        onClose: error => {
          this.events.push('close')
          this.closedWith = error
          resolve(error)
        },
      })
    })
  }

  texts(): string[] {
    return this.messages.map(String)
  }
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  const startMs = performance.now()
  while (!condition()) {
    if (performance.now() - startMs > 10_000) throw new Error(`waited in vain: ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

export async function failureOf(promise: Promise<unknown>): Promise<NaruError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(NaruError)
  return error as NaruError
}

/** Writes until the stream says "full" and stays so for a while of turns; the bytes it took. */
export async function writeUntilFull(end: Recorded, bytesMax: number): Promise<number> {
  const message = Buffer.alloc(64 * 1024)
  let sent = 0
  for (;;) {
    while (sent < bytesMax) {
      sent += message.length
      if (!end.stream.write(message)) break
    }
    if (sent >= bytesMax) return sent
    const drains = end.drains
    for (let turn = 0; turn < 300 && end.drains === drains; turn++) {
      await new Promise(resolve => setTimeout(resolve, 1))
    }
    if (end.drains === drains) {
      end.drains = 0
      return sent
    }
  }
}

export function bytesOf(end: Recorded): number {
  return end.messages.reduce((sum, message) => sum + message.length, 0)
}
