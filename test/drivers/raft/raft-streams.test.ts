import { beforeEach, describe, expect, it } from 'vitest'
import type { KnownDirectory } from '../../../src/drivers/raft/raft-hello.ts'
import { RaftStreams, type RaftStreamsListener } from '../../../src/drivers/raft/raft-streams.ts'
import type { RaftMessage } from '../../../src/raft/messages.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimNetwork } from '../../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'

const prng = new SeededPrng(3)

class Member {
  readonly machine: SimMachine
  readonly received: RaftMessage[] = []
  readonly connections: string[] = []
  readonly told: KnownDirectory[] = []
  streams: RaftStreams

  constructor(
    network: SimNetwork,
    options: { id: string; clusterId?: string; queueBytesMax?: number; machine?: SimMachine },
  ) {
    const { id, clusterId = 'cluster', queueBytesMax } = options
    const host = `n${id[0]}`
    const { scheduler } = network
    this.machine = options.machine ?? new SimMachine(1, { name: host, scheduler, prng: prng.fork(host) })
    const { disk, clock, incarnation } = this.machine
    const listener: RaftStreamsListener = {
      onMessage: message => this.received.push(message),
      onConnection: (member, state) => this.connections.push(`${member} ${state}`),
      onTold: known => this.told.push(known),
      openSnapshot: () => Promise.reject(new Error('no snapshot here')),
      onSnapshotReport: () => {},
      placeForSnapshot: () => undefined,
      onSnapshot: () => {},
    }
    this.streams = new RaftStreams(
      {
        clusterId,
        self: id,
        transport: new SimTransport(network, incarnation, host),
        addressOf: member => `n${member[0]}:1`,
        disk,
        clock,
        prng,
        ...(queueBytesMax !== undefined && { limits: { queueBytesMax } }),
      },
      listener,
    )
    serveSimulated({ network, incarnation, address: `${host}:1`, handlers: this.streams.handlers })
  }
}

function heartbeat(from: string, to: string, round: number): RaftMessage {
  return { type: 'heartbeat', from, to, term: 1, commitIndex: 0, round, proof: undefined }
}

describe('streams between members', () => {
  let network: SimNetwork
  let scheduler: EventScheduler

  beforeEach(() => {
    scheduler = new EventScheduler(new SeededPrng(1))
    network = new SimNetwork({ scheduler, prng: new SeededPrng(2) })
  })

  it('bring messages in order, with the envelope that the first frame gave', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    for (let round = 0; round < 50; round++) one.streams.send(heartbeat('1@a', '2@b', round))
    await scheduler.runUntil(() => two.received.length === 50, { timeMsMax: 1000 })
    expect(two.received).toEqual(Array.from({ length: 50 }, (_, round) => heartbeat('1@a', '2@b', round)))
  })

  it('reach nobody but the member meant: another disk, another cluster', async () => {
    const one = new Member(network, { id: '1@a' })
    const other = new Member(network, { id: '2@replaced' })
    const foreign = new Member(network, { id: '3@c', clusterId: 'another' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    one.streams.send(heartbeat('1@a', '3@c', 1))
    await scheduler.runFor(3000)
    expect(other.received).toEqual([])
    expect(foreign.received).toEqual([])
  })

  it('tell a killed process at once, and its return', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    await scheduler.runFor(10)
    two.machine.kill()
    await scheduler.runFor(20)
    expect(one.connections).toEqual(['2@b refused', '2@b lost'])
    const again = new Member(network, { id: '2@b', machine: two.machine })
    for (let round = 0; round < 20; round++) {
      one.streams.send(heartbeat('1@a', '2@b', round))
      await scheduler.runFor(100)
    }
    expect(one.connections).toEqual(['2@b refused', '2@b lost', '2@b restored'])
    expect(again.received.length).toBeGreaterThan(10)
  })

  it('are dialled without further wait when a member has spoken that could not be dialled for long', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    two.machine.kill()
    // Until a dial has just failed, after which the next one is most of a second away.
    for (let round = 0; round < 100; round++) {
      one.streams.send(heartbeat('1@a', '2@b', round))
      await scheduler.runFor(100)
    }
    const again = new Member(network, { id: '2@b', machine: two.machine })
    one.streams.redial('2@b')
    one.streams.send(heartbeat('1@a', '2@b', 200))
    await scheduler.runFor(20)
    expect(again.received).toEqual([heartbeat('1@a', '2@b', 200)])
    one.streams.redial('2@b')
    one.streams.redial('9@never')
    await scheduler.runFor(20)
    expect(one.connections.filter(told => told !== '2@b refused')).toEqual(['2@b lost', '2@b restored'])
  })

  it('tell a member that is cut off as lost once its connection breaks, but not as gone', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    await scheduler.runFor(10)
    network.cut('n1', 'n2')
    network.reset('n1', 'n2')
    await scheduler.runFor(3000)
    expect(one.connections).toEqual(['2@b lost'])
  })

  it('do not call a silent machine lost', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    network.powerOff('n2')
    two.machine.powerCut()
    for (let round = 0; round < 20; round++) {
      one.streams.send(heartbeat('1@a', '2@b', round))
      await scheduler.runFor(100)
    }
    expect(one.connections).toEqual([])
  })

  it('keep a broken connection from being called lost while the redial succeeds', async () => {
    const one = new Member(network, { id: '1@a' })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 1))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    await scheduler.runFor(10)
    network.reset('n1', 'n2')
    await scheduler.runFor(20)
    expect(one.connections).toEqual(['2@b restored'])
  })

  it('drop what is above the limit of the queue to a member that does not read', async () => {
    const one = new Member(network, { id: '1@a', queueBytesMax: 4 * 1024 * 1024 })
    const two = new Member(network, { id: '2@b' })
    one.streams.send(heartbeat('1@a', '2@b', 0))
    await scheduler.runUntil(() => two.received.length === 1, { timeMsMax: 100 })
    two.machine.incarnation.pause()
    const entry = { index: 1, term: 1, kind: 'command' as const, data: Buffer.alloc(1024 * 1024) }
    const append = { type: 'append', from: '1@a', to: '2@b', term: 1, commitIndex: 0 } as const
    for (let i = 0; i < 64; i++)
      one.streams.send({ ...append, previous: { index: 0, term: 0 }, entries: [entry] })
    await scheduler.runFor(100)
    two.machine.incarnation.resume()
    await scheduler.runFor(1000)
    expect(two.received.length).toBeGreaterThan(8)
    expect(two.received.length).toBeLessThan(20)
  })
})
