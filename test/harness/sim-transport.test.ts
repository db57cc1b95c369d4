import { describe, expect, it } from 'vitest'
import { isRefused, type MessageStream, type ServiceHandlers } from '../../src/ports/transport.ts'
import { transportSuite } from '../suites/transport.suite.ts'
import { EventScheduler } from './event-scheduler.ts'
import { Recorded } from './recorded-stream.ts'
import { SeededPrng } from './seeded-prng.ts'
import { SimIncarnation } from './sim-incarnation.ts'
import { SimNetwork } from './sim-network.ts'
import { SimTransport, serveSimulated } from './sim-transport.ts'

function makeNetwork() {
  const scheduler = new EventScheduler(new SeededPrng(1))
  return { scheduler, network: new SimNetwork({ scheduler, prng: new SeededPrng(2) }) }
}

transportSuite('the simulated network', async (handlers, { receiveMessageBytesMax }) => {
  const { scheduler, network } = makeNetwork()
  const server = new SimIncarnation(scheduler, 'server')
  serveSimulated({ network, incarnation: server, address: 'server:1', handlers, receiveMessageBytesMax })
  const transport = new SimTransport(network, new SimIncarnation(scheduler, 'client'), 'client')
  let isOpen = true
  // The suite waits in real time: virtual time runs on as long as anything happens in it.
  const pump = async () => {
    while (isOpen) if (!(await scheduler.step())) await new Promise(resolve => setImmediate(resolve))
  }
  const pumping = pump()
  return {
    connect: options => transport.connect('server:1', options),
    close: async () => {
      isOpen = false
      await pumping
    },
  }
})

describe('the simulated network', () => {
  const STREAM = '/test.Service/Stream'

  function connected() {
    const { scheduler, network } = makeNetwork()
    const served: Recorded[] = []
    const accept = (stream: MessageStream) => {
      served.push(new Recorded(stream))
    }
    const handlers: ServiceHandlers = new Map([[STREAM, { kind: 'stream', handle: accept }]])
    const server = new SimIncarnation(scheduler, 'b')
    serveSimulated({ network, incarnation: server, address: 'b:1', handlers })
    const transport = new SimTransport(network, new SimIncarnation(scheduler, 'a'), 'a')
    const channel = transport.connect('b:1')
    return { scheduler, network, server, channel, served, client: new Recorded(channel.stream(STREAM)) }
  }

  it('holds what is sent over a cut link, and brings it in order when the link heals', async () => {
    const { scheduler, network, client, served } = connected()
    await scheduler.runFor(10)
    network.cut('a', 'b')
    for (const text of ['1', '2', '3']) client.stream.write(Buffer.from(text))
    served[0]?.stream.write(Buffer.from('the other way'))
    await scheduler.runFor(100)
    expect(served[0]?.messages).toEqual([])
    expect(client.texts()).toEqual(['the other way'])
    network.heal()
    await scheduler.runFor(10)
    expect(served[0]?.texts()).toEqual(['1', '2', '3'])
  })

  it('gives a connection up when the link stays cut', async () => {
    const { scheduler, network, client } = connected()
    await scheduler.runFor(10)
    network.cut('a', 'b')
    client.stream.write(Buffer.from('lost'))
    await scheduler.runFor(network.keepaliveMs + 1)
    expect((await client.closed)?.reason).toBe('CONNECTION_FAILED')
  })

  it('tells of a killed process at once, of a dead machine never', async () => {
    for (const isPowered of [true, false]) {
      const { scheduler, network, client, server } = connected()
      await scheduler.runFor(10)
      if (!isPowered) network.powerOff('b')
      server.kill()
      await scheduler.runFor(100)
      expect(client.closedWith === 'open').toBe(!isPowered)
    }
  })

  it('ends a half-open connection with the first message to the new process', async () => {
    const { scheduler, network, client, server } = connected()
    await scheduler.runFor(10)
    network.powerOff('b')
    server.kill()
    network.powerOn('b')
    await scheduler.runFor(100)
    expect(client.closedWith).toBe('open')
    client.stream.write(Buffer.from('still there?'))
    await scheduler.runFor(10)
    expect((await client.closed)?.reason).toBe('CONNECTION_FAILED')
  })

  it('breaks both ends of a connection that is reset, and the channel dials anew', async () => {
    const { scheduler, network, client, served, channel } = connected()
    await scheduler.runFor(10)
    network.reset('a', 'b')
    await scheduler.runFor(1)
    expect([client.closedWith, served[0]?.closedWith]).not.toContain('open')
    const again = new Recorded(channel.stream(STREAM))
    again.stream.write(Buffer.from('again'))
    await scheduler.runFor(10)
    expect(served[1]?.texts()).toEqual(['again'])
  })

  it('refuses a dial where nobody listens, and lets it time out where nobody is', async () => {
    const { scheduler, network, server } = connected()
    await scheduler.runFor(10)
    server.kill()
    const transport = new SimTransport(network, new SimIncarnation(scheduler, 'c'), 'c')
    const refused = new Recorded(transport.connect('b:1').stream(STREAM))
    await scheduler.runFor(10)
    expect((await refused.closed)?.outcome).toBe('none')
    expect(isRefused(await refused.closed)).toBe(true)
    network.powerOff('b')
    const silent = new Recorded(transport.connect('b:1').stream(STREAM))
    await scheduler.runFor(10)
    expect(silent.closedWith).toBe('open')
    await scheduler.runFor(network.dialTimeoutMs)
    expect((await silent.closed)?.reason).toBe('CONNECTION_FAILED')
    expect(isRefused(await silent.closed)).toBe(false)
  })
})
