import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Ports for nodes that are started later, or again. They lie below every usual range of ephemeral ports (Linux: from
 * 32,768 on), so no connection that anybody opens meanwhile can take them; and a guard listens on the last port of
 * their row of ten until this process ends, so no other test is given them.
 */
const FIRST_ROW = 1_200
const LAST_ROW = 3_200
const ROW_PORTS = 10

/** The first port of `rows` rows of ten ports each, of which the last of each row is not free. */
export async function freePortRows(rows: number): Promise<number> {
  for (;;) {
    const base = ROW_PORTS * randomInt(FIRST_ROW, LAST_ROW - rows)
    if (await reserve(base, rows)) return base
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const perRow = ROW_PORTS - 1
  const base = await freePortRows(Math.ceil(count / perRow))
  return Array.from({ length: count }, (_, i) => base + ROW_PORTS * Math.floor(i / perRow) + (i % perRow))
}

async function reserve(base: number, rows: number): Promise<boolean> {
  const ports = Array.from({ length: ROW_PORTS * rows }, (_, i) => base + i)
  const servers = await Promise.all(ports.map(listen))
  const isReserved = servers.every(server => server !== undefined)
  const isGuard = (index: number) => isReserved && index % ROW_PORTS === ROW_PORTS - 1
  await Promise.all(servers.map((server, index) => (isGuard(index) ? server?.unref() : close(server))))
  return isReserved
}

async function listen(port: number) {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
    return server
  } catch {
    return undefined
  }
}

async function close(server: ReturnType<typeof createServer> | undefined): Promise<void> {
  if (server !== undefined) await new Promise(resolve => server.close(resolve))
}
