import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { formatRaft, openRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import { RaftDriver } from '../../../src/drivers/raft/raft-driver.ts'
import { NodeDisk } from '../../../src/ports/node-disk.ts'
import { SystemClock } from '../../../src/ports/system-clock.ts'
import { SystemPrng } from '../../../src/ports/system-prng.ts'
import type { ServiceHandlers } from '../../../src/ports/transport.ts'
import type { MemberId } from '../../../src/raft/membership.ts'
import { GrpcServer } from '../../../src/rpc/grpc-server.ts'
import { GrpcTransport } from '../../../src/rpc/grpc-transport.ts'
import { until } from '../../harness/recorded-stream.ts'
import { HashedLog } from './hashed-log.ts'
import { resourcesOf } from './raft-cluster.ts'

const VOTERS = ['1@a', '2@b', '3@c']
/** So long that within a test only a closed connection can bring a new leader (rule A7). */
const TIMING = { electionTimeoutMs: { min: 30_000, max: 60_000 } }

interface RealMember {
  readonly id: MemberId
  readonly driver: RaftDriver
  readonly server: GrpcServer
  readonly log: HashedLog
  readonly clock: SystemClock
}

let directory: string
let members: RealMember[]
const addresses = new Map<MemberId, string>()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'naru-raft-'))
  members = []
  addresses.clear()
})

afterEach(async () => {
  await Promise.all(members.map(stop))
  await rm(directory, { recursive: true })
})

async function stop({ driver, server, clock }: RealMember): Promise<void> {
  await driver.close()
  await server.close()
  clock.close()
}

async function start(
  id: MemberId,
  membership = { voters: VOTERS, learners: [] as string[] },
): Promise<RealMember> {
  const disk = new NodeDisk()
  const clock = new SystemClock()
  const prng = new SystemPrng()
  const resources = resourcesOf(disk, clock)
  const options = {
    resources,
    directory: join(directory, id, 'raft'),
    nodeId: Number(id[0]),
    prng,
    onEvent() {},
  }
  await formatRaft(options, { self: id, membership })
  const opened = await openRaft(options)
  const log = new HashedLog()
  // Streams come in as soon as the port is open, which is before there is a driver to know them.
  const handlers = new Map() as Map<string, unknown> & ServiceHandlers
  const server = new GrpcServer({ handlers, logger: { info() {}, warn() {}, error() {} } })
  addresses.set(id, `127.0.0.1:${await server.listen({ host: '127.0.0.1', port: 0 })}`)
  const driver = new RaftDriver({
    clusterId: 'real',
    opened,
    disk,
    clock,
    prng,
    transport: new GrpcTransport(),
    addressOf: member => addresses.get(member),
    campaignAtOnce: id === '1@a',
    owner: {
      onCommitted: entries => {
        for (const entry of entries) log.apply(entry)
      },
      onSnapshot: ({ records, through }) => log.restore(records, through),
      takeSnapshot: () => log.records(),
      onLeading() {},
      onResigned() {},
      onFailed(error) {
        throw error
      },
      onEvent() {},
    },
    timing: TIMING,
    limits: { snapshotAfterEntries: 100, keptEntries: 10 },
  })
  for (const [path, handler] of driver.handlers) handlers.set(path, handler)
  const member = { id, driver, server, log, clock }
  members.push(member)
  return member
}

function leaderOf(running: readonly RealMember[]): RealMember | undefined {
  return running.find(member => member.driver.status.isReady)
}

it('three members over real sockets commit, take over from a stopped leader, and bring a fourth up to date', async () => {
  // Number one campaigns at its start: the others are there by then.
  for (const id of ['3@c', '2@b', '1@a']) await start(id)
  await until(() => leaderOf(members) !== undefined, 'a leader')
  const first = leaderOf(members) as RealMember
  const proposals = Array.from({ length: 250 }, (_, i) => first.driver.propose([Buffer.from(`command ${i}`)]))
  await Promise.all(proposals)
  const followers = members.filter(member => member !== first)
  await until(() => followers.every(({ log }) => log.hash === first.log.hash), 'all are equal')
  expect(await followers[0]?.driver.readIndex()).toBeGreaterThanOrEqual(251)

  members = followers
  await stop(first)
  await until(() => leaderOf(followers) !== undefined, 'another leader')
  const second = leaderOf(followers) as RealMember
  await second.driver.propose([Buffer.from('after')])
  expect(second.log.commands.length).toBe(251)

  const joiner = await start('4@d', { voters: [], learners: [] })
  await second.driver.changeMembership({ op: 'add-learner', member: '4@d' })
  await until(() => joiner.log.hash === second.log.hash, 'the fourth is equal')
  expect(joiner.driver.status.snapshotIndex).toBeGreaterThan(0)
})
