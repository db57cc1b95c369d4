import { EventEmitter } from 'node:events'
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { Connections } from '../../src/rpc/connections.ts'
import { RequestBytes } from '../../src/rpc/request-bytes.ts'
import { GRPC_SERVER_LIMITS } from '../../src/rpc/server-limits.ts'

const REMOTE = { remoteAddress: '127.0.0.1', remotePort: 40_000 }

function socketFrom(remote: typeof REMOTE): Socket {
  return Object.assign(new EventEmitter(), remote) as unknown as Socket
}

it('knows a connection whose port was that of one whose end is told late', () => {
  const connections = new Connections(GRPC_SERVER_LIMITS, new RequestBytes(1_000))
  const [before, now] = [socketFrom(REMOTE), socketFrom(REMOTE)]
  const session = { socket: REMOTE } as unknown as Http2Session
  connections.admit(before, 0)
  connections.admit(now, 1)
  before.emit('close')
  expect(connections.of(session)).toBeDefined()
  expect(connections.count).toBe(1)
  now.emit('close')
  expect(connections.of(session)).toBeUndefined()
  expect(connections.count).toBe(0)
})
