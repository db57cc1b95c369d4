import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { expect, it } from 'vitest'
import { freePortRows, freePorts } from './free-ports.ts'

it('gives ports that no connection takes meanwhile: below those that the system hands out', async () => {
  const lowestEphemeral = Number(
    readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')[0],
  )
  expect(Math.max(...(await freePorts(20)))).toBeLessThan(lowestEphemeral)
})

it('keeps a guard on each row, so that nobody is given it again while its ports are not used yet', async () => {
  const base = await freePortRows(2)
  for (const guard of [base + 9, base + 19]) {
    const server = createServer()
    const error = new Promise<NodeJS.ErrnoException>(resolve => server.once('error', resolve))
    server.listen(guard, '127.0.0.1')
    expect((await error).code).toBe('EADDRINUSE')
  }
})
