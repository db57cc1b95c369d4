import net from 'node:net'
import { describe, expect, it } from 'vitest'
import { failureOf, Recorded, until } from '../harness/recorded-stream.ts'
import {
  CALL,
  closeAfterEach,
  connect,
  framed,
  rawCall,
  rawSession,
  STREAM,
  serve,
  trailersOf,
} from './grpc-server-harness.ts'

closeAfterEach()

describe('draining', () => {
  it('waits for accepted calls, refuses new ones, and closes', async () => {
    let finish: (answer: Buffer) => void = () => {}
    const { server, address } = await serve(
      {},
      {
        unary: () =>
          new Promise(resolve => {
            finish = resolve
          }),
      },
    )
    const channel = connect(address)
    const accepted = channel.unary(CALL, Buffer.alloc(1))
    await until(() => server.usage.calls === 1, 'the call runs')
    const drained = server.drain({ timeoutMs: 20_000 })
    const refused = await failureOf(channel.unary(CALL, Buffer.alloc(1), { timeoutMs: 5_000 }))
    expect(['CONNECTION_FAILED', 'NODE_DRAINING']).toContain(refused.reason)
    expect(refused.outcome).toBe('none')
    finish(Buffer.from('answered'))
    expect((await accepted).toString()).toBe('answered')
    await drained
    expect(server.usage).toMatchObject({ calls: 0 })
  })

  it('lets a stream answer what it took, takes no more, and says NODE_DRAINING after the last answer', async () => {
    const taken: string[] = []
    let answer: () => void = () => {}
    const { server, address } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage: message => void taken.push(String(message)),
            onEnd: () => {
              answer = () => {
                for (const text of taken) stream.write(Buffer.from(text))
                stream.end()
              }
            },
          }),
      },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    client.stream.write(Buffer.from('a'))
    client.stream.write(Buffer.from('b'))
    await until(() => taken.length === 2, 'both are taken')
    const drained = server.drain({ timeoutMs: 20_000 })
    client.stream.write(Buffer.from('too late'))
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
    expect(client.closedWith).toBe('open')
    answer()
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
    expect(client.texts()).toEqual(['a', 'b'])
    await drained
  })

  it('ends well a stream that its client had half-closed before', async () => {
    let end: (() => void) | undefined
    const { server, address } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage() {},
            onEnd: () => {
              end = () => stream.end()
            },
          }),
      },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    client.stream.write(Buffer.from('a'))
    client.stream.end()
    await until(() => end !== undefined, 'the handler knows')
    const drained = server.drain({ timeoutMs: 20_000 })
    end?.()
    expect(await client.closed).toBeUndefined()
    await drained
  })

  it('ends streams that owe nothing at once, and hurries calls that wait', async () => {
    let ends = 0
    const { server, address } = await serve(
      {},
      {
        endsAtDrain: true,
        stream: stream => stream.setHandlers({ onMessage() {}, onEnd: () => void ends++ }),
        unary: (_request, context) =>
          new Promise(resolve => context.onCancel(() => resolve(Buffer.from('so far')))),
      },
    )
    const channel = connect(address)
    const client = new Recorded(channel.stream(STREAM))
    const waiting = channel.unary(CALL, Buffer.alloc(1))
    await until(() => server.usage.calls === 2, 'both run')
    const drained = server.drain({ timeoutMs: 20_000 })
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
    expect(String(await waiting)).toBe('so far')
    await drained
    expect(ends).toBe(0)
  })

  it('does not wait for requests that are not here yet', async () => {
    const { server, port } = await serve()
    const stream = rawCall(rawSession(port), CALL)
    stream.write(framed(Buffer.alloc(100)).subarray(0, 50))
    const trailers = trailersOf(stream)
    await until(() => server.usage.calls === 1, 'the call is open')
    await server.drain({ timeoutMs: 20_000 })
    expect((await trailers)['grpc-message']).toContain('stopping')
  })

  it('ends what is left at the limit with NODE_DRAINING', async () => {
    const { server, address } = await serve(
      {},
      { stream: stream => stream.setHandlers({ onMessage() {}, onEnd() {} }) },
    )
    const client = new Recorded(connect(address).stream(STREAM))
    await until(() => server.usage.calls === 1, 'the stream is open')
    await server.drain({ timeoutMs: 50 })
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
  })

  it('gives the last answers time on their way to a client that reads slowly', async () => {
    let answer: () => void = () => {}
    const { server, port } = await serve(
      {},
      {
        stream: stream =>
          stream.setHandlers({
            onMessage() {},
            onEnd: () => {
              answer = () => {
                for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(10_000))
                stream.end()
              }
            },
          }),
      },
    )
    await using slow = await SlowRoad.to(port)
    const client = new Recorded(connect(slow.address).stream(STREAM))
    client.stream.write(Buffer.from('a'))
    await until(() => server.usage.calls === 1, 'the stream is open')
    const drained = server.drain({ timeoutMs: 20_000 })
    slow.hold()
    answer()
    await until(() => server.usage.calls === 0, 'all is with HTTP/2')
    setTimeout(() => slow.letGo(), 1_500)
    expect((await client.closed)?.reason).toBe('NODE_DRAINING')
    expect(client.messages.length).toBe(100)
    await drained
  })
})

/** A way to a server on which what it answers can be held up, as by a client that is busy. */
class SlowRoad {
  readonly #listener: net.Server
  readonly #upstreams: net.Socket[] = []

  private constructor(listener: net.Server, port: number) {
    this.#listener = listener
    listener.on('connection', downstream => {
      const upstream = net.connect({ host: '127.0.0.1', port })
      this.#upstreams.push(upstream)
      for (const socket of [upstream, downstream]) socket.on('error', () => {})
      upstream.pipe(downstream)
      downstream.pipe(upstream)
      upstream.once('close', () => downstream.destroy())
    })
  }

  static async to(port: number): Promise<SlowRoad> {
    const listener = net.createServer()
    await new Promise<void>(resolve => listener.listen({ host: '127.0.0.1', port: 0 }, resolve))
    return new SlowRoad(listener, port)
  }

  get address(): string {
    return `127.0.0.1:${(this.#listener.address() as net.AddressInfo).port}`
  }

  hold(): void {
    for (const upstream of this.#upstreams) upstream.pause()
  }

  letGo(): void {
    for (const upstream of this.#upstreams) upstream.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const upstream of this.#upstreams) upstream.destroy()
    await new Promise(resolve => this.#listener.close(resolve))
  }
}
