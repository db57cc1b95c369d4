import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { MessageStream } from '../../src/ports/transport.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import { connect } from '../../src/server/client.ts'
import { startNode, type TestNode } from '../../src/server/testing.ts'
import type { AttendJoin, AttendResponse, MessageInit } from '../../src/wire/messages.ts'
import { Groups } from '../../src/wire/methods.ts'
import { Recorded } from '../harness/recorded-stream.ts'

let node: TestNode
const channels: { close(): void }[] = []

beforeEach(async () => {
  node = await startNode()
  await using client = await connect(node.address)
  await client.admin().createTopics([{ name: 'orders', partitions: 2 }])
})

afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close()
  await node.close()
})

class Member {
  readonly recorded: Recorded
  readonly stream: MessageStream

  constructor(address: string, join: MessageInit<AttendJoin>) {
    const channel = new GrpcTransport().connect(address)
    channels.push(channel)
    this.stream = channel.stream(Groups.attend.path)
    this.recorded = new Recorded(this.stream)
    this.stream.write(Groups.attend.request.encode({ join: { group: 'g', topics: ['orders'], ...join } }))
  }

  get frames(): AttendResponse[] {
    return this.recorded.messages.map(message => Groups.attend.response.decode(message))
  }

  get ownedCount(): number {
    return this.frames.flatMap(({ assigned }) => assigned?.partitions ?? []).length
  }
}

/** Without a bound of its own: the test has one. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

/** Passes bytes between its clients and the node, until it is told to pass nothing: then nothing is acknowledged either. */
async function proxy(to: string): Promise<{ address: string; server: Server; stall: () => void }> {
  const [host, port] = to.split(':')
  const sockets: Socket[] = []
  const server = createServer(client => {
    const upstream = connectTcp(Number(port), host)
    client.pipe(upstream)
    upstream.pipe(client)
    for (const socket of [client, upstream]) {
      socket.on('error', () => {})
      sockets.push(socket)
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  const address = `127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`
  channels.push({
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  const stall = () => {
    for (const socket of sockets) {
      socket.unpipe()
      socket.pause()
    }
  }
  return { address, server, stall }
}

it('keeps a member whose connection lives, says it what it may, and expels one that falls silent', async () => {
  const stopped = await proxy(node.address)
  const silent = new Member(stopped.address, { member: 'silent', sessionTimeoutMs: 1_000 })
  await until(() => silent.ownedCount === 2)
  const quiet = new Member(node.address, { member: 'quiet', sessionTimeoutMs: 1_000 })
  await until(() => quiet.frames.length > 0)
  stopped.stall()
  // It never released anything, and its socket is open still.
  await until(() => quiet.ownedCount === 2)
  await using client = await connect(node.address)
  const { members } = await client.groups().describe('g')
  expect(members.map(({ member, disconnected }) => ({ member, disconnected }))).toEqual([
    { member: 'quiet', disconnected: false },
  ])
  expect(quiet.recorded.closedWith).toBe('open')
}, 60_000)

it('ends the streams of members when the node stops, so that they go on elsewhere', async () => {
  const member = new Member(node.address, { member: 'm' })
  await until(() => member.ownedCount === 2)
  await node.close()
  const error = await member.recorded.closed
  expect(error?.reason).toBe('NODE_DRAINING')
  expect(error?.retriable).toBe(true)
}, 60_000)

it('lets the SDK look at groups and change them', async () => {
  await using client = await connect(node.address)
  const groups = client.groups()
  expect(await groups.list()).toEqual({ groups: [], missing: [] })
  const producer = client.producer()
  for (let value = 0; value < 10; value++)
    await producer.send({ topic: 'orders', partition: 0, value: String(value) })
  await groups.commitOffsets('g', [
    { topic: 'orders', partition: 0, nextOffset: 4, metadata: 'half' },
    { topic: 'orders', partition: 1, nextOffset: 0 },
  ])
  await expect(
    groups.commitOffsets('g', [{ topic: 'orders', partition: 0, nextOffset: 11 }]),
  ).rejects.toMatchObject({ reason: 'OFFSET_OUT_OF_RANGE' })
  const { groups: listed } = await groups.list({ states: ['empty'], prefix: 'g' })
  expect(listed).toMatchObject([{ group: 'g', state: 'empty', members: 0 }])
  const [first] = (await groups.describe('g')).offsets
  expect(first).toMatchObject({
    nextOffset: 4,
    highWatermark: 10,
    lag: 6,
    metadata: 'half',
    member: undefined,
  })
  const planned = await groups.resetOffsets('g', { to: { lastN: 3 } }, { dryRun: true })
  expect(planned.map(({ before, after }) => [before, after])).toEqual([
    [4, 7],
    [0, 0],
  ])
  await groups.resetOffsets('g', { shiftBy: 2 }, { topics: [{ topic: 'orders', partitions: [0] }] })
  await groups.resetOffsets('h', { offsets: [{ topic: 'orders', partition: 0, nextOffset: 9 }] })
  const offsets = async (group: string) =>
    (await groups.fetchOffsets(group, [{ topic: 'orders' }])).map(({ nextOffset }) => nextOffset)
  expect(await offsets('g')).toEqual([6, 0])
  expect(await offsets('h')).toEqual([9, undefined])
  await groups.delete('g')
  await expect(groups.describe('g')).rejects.toMatchObject({ reason: 'UNKNOWN_GROUP' })
}, 60_000)
