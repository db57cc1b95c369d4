import { expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { LoopbackChannel } from '../../../src/drivers/controller/loopback-channel.ts'
import type { MessageStream, ServiceHandlers } from '../../../src/ports/transport.ts'
import { SimMachine } from '../../harness/sim-machine.ts'

/** What each side of a stream of `/echo` saw, in order. */
function open(serve: (stream: MessageStream) => { onMessage(message: Buffer): void; onEnd?(): void }) {
  const machine = new SimMachine(1)
  const seen: string[] = []
  const handlers: ServiceHandlers = new Map([
    [
      '/echo',
      {
        kind: 'stream',
        handle: (stream, context) => {
          context.onCancel(() => seen.push('server cancelled'))
          const onClose = (error?: NaruError) => seen.push(`server closed ${error?.reason ?? 'well'}`)
          stream.setHandlers({ ...serve(stream), onClose })
        },
      },
    ],
    ['/unary', { kind: 'unary', handle: async request => request }],
  ])
  const channel = new LoopbackChannel({ handlers, clock: machine.clock })
  const stream = channel.stream('/echo')
  stream.setHandlers({
    onMessage: message => void seen.push(`got ${message}`),
    onEnd: () => seen.push('ended'),
    onClose: error => seen.push(`closed ${error?.reason ?? 'well'}`),
  })
  return { channel, stream, seen, settle: () => machine.scheduler.runFor(100), machine }
}

const echo = (stream: MessageStream) => ({
  onMessage: (message: Buffer) => void stream.write(message),
  onEnd: () => stream.end(),
})

it('carries messages in order, then ends well on both sides', async () => {
  const { stream, seen, settle } = open(echo)
  for (const text of ['a', 'b', 'c']) stream.write(Buffer.from(text))
  expect(seen).toEqual([])
  stream.end()
  stream.write(Buffer.from('too late'))
  await settle()
  expect(seen.filter(line => !line.startsWith('server'))).toEqual([
    'got a',
    'got b',
    'got c',
    'ended',
    'closed well',
  ])
  expect(seen.filter(line => line.startsWith('server'))).toEqual(['server closed well'])
})

it('shares no bytes between the two sides', async () => {
  const { stream, seen, settle } = open(echo)
  const bytes = Buffer.from('a')
  stream.write(bytes)
  bytes.write('x')
  await settle()
  expect(seen).toEqual(['got a'])
})

it('tells the client why the server ended the stream, behind what it had sent', async () => {
  const { stream, seen, settle } = open(server => ({
    onMessage: message => {
      server.write(message)
      server.fail(new NaruError('NOT_CONTROLLER', 'moved'))
    },
  }))
  stream.write(Buffer.from('a'))
  await settle()
  expect(seen.filter(line => !line.startsWith('server'))).toEqual(['got a', 'closed NOT_CONTROLLER'])
})

it('tells the server that the client cancelled, once', async () => {
  const { stream, seen, settle } = open(echo)
  await settle()
  stream.fail(new NaruError('DEADLINE_EXCEEDED', 'too slow'))
  stream.fail(new NaruError('CLOSED', 'again'))
  await settle()
  expect(seen).toContain('closed DEADLINE_EXCEEDED')
  expect(seen).toContain('server cancelled')
  expect(seen).toContain('server closed CANCELLED')
  expect(seen).toHaveLength(3)
})

it('holds back what comes to a side that pauses', async () => {
  const { stream, seen, settle } = open(echo)
  stream.pause()
  stream.write(Buffer.from('a'))
  await settle()
  expect(seen).toEqual([])
  stream.resume()
  await settle()
  expect(seen).toEqual(['got a'])
})

it('answers unary calls, and refuses what nobody serves', async () => {
  const { channel, machine } = open(echo)
  expect(await channel.unary('/unary', Buffer.from('a'))).toEqual(Buffer.from('a'))
  await expect(channel.unary('/nothing', Buffer.alloc(0))).rejects.toMatchObject({
    reason: 'NOT_IMPLEMENTED',
  })
  let error: NaruError | undefined
  channel.stream('/nothing').setHandlers({
    onMessage() {},
    onClose: closed => {
      error = closed as NaruError
    },
  })
  await machine.scheduler.runFor(100)
  expect(error?.reason).toBe('NOT_IMPLEMENTED')
})
