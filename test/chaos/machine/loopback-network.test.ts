import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { cutBetween, everywhere, NO_FAULTS } from './links.ts'
import { LoopbackNetwork } from './loopback-network.ts'
import type { NetworkPlace } from './world.ts'

const PEER_PORT = 7452
/** Says to the address it is given what it reads, and prints what comes back. */
const CALLER = `
  const socket = require('node:net').connect(${PEER_PORT}, process.argv[1], () => console.log('connected'))
  process.stdin.on('data', bytes => socket.write(bytes))
  socket.on('data', bytes => process.stdout.write(bytes))
  socket.on('error', error => { console.log(error.code); process.exit() })
  socket.on('close', () => process.exit())
`

let undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.reverse()) await one()
  undo = []
})

it('holds back what nodes say to each other while they are cut, gives it when they are not, and resets', async () => {
  const network = new LoopbackNetwork()
  undo.push(() => network[Symbol.asyncDispose]())
  const [one, two] = [await network.place(1), await network.place(2)]
  const echo = await echoAt(two)
  const caller = await callerAs(one, two)
  expect(await caller.say('before\n')).toBe('before\n')

  await network.setLinks(cutBetween([1], [2]))
  caller.child.stdin.write('during\n')
  // A client is no node: nothing of its is cut. By the time it has its answer, the other one's would be there.
  expect(await clientSays(two, 'client\n')).toBe('client\n')
  expect(caller.heard()).toBe('before\n')

  await network.setLinks(NO_FAULTS)
  await caller.hears('before\nduring\n')
  await network.setLinks(everywhere([1, 2], { delayMs: [5, 10] }))
  caller.child.stdin.write('slowly\n')
  await caller.hears('before\nduring\nslowly\n')

  await network.resetConnections(1)
  await once(caller.child, 'exit')
  expect(echo.listening).toBe(true)
})

async function echoAt({ listenHost }: NetworkPlace): Promise<Server> {
  const server = createServer(socket => socket.on('error', () => {}).pipe(socket))
  const sockets = new Set<Socket>()
  server.on('connection', socket => sockets.add(socket))
  await new Promise<void>(resolve => server.listen(PEER_PORT, listenHost, resolve))
  undo.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server
}

/** A process that the network takes for node `from`: it is known by the address on its command line. */
async function callerAs(from: NetworkPlace, to: NetworkPlace) {
  const child = spawn(process.execPath, ['-e', CALLER, to.advertisedHost, from.advertisedHost], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  undo.push(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more
  })
  const hears = async (expected: string) => {
    while (text !== expected) await once(child.stdout, 'data')
    return text
  }
  const say = (what: string) => {
    child.stdin.write(what)
    return hears(what)
  }
  return { child, heard: () => text, hears, say }
}

async function clientSays({ advertisedHost }: NetworkPlace, what: string): Promise<string> {
  const socket = connect(PEER_PORT, advertisedHost)
  undo.push(() => socket.destroy())
  socket.write(what)
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return bytes.toString()
}
