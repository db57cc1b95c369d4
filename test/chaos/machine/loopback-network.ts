import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer, connect as openSocket, type Server, type Socket } from 'node:net'
import { type LinkFault, type Links, linkName, NO_FAULTS } from './links.ts'
import type { Capability, NetworkPlace, NodeNetwork } from './world.ts'

/** Loopback addresses of this process: all of 127/8 is this machine. */
const OWN = `127.${(process.pid % 200) + 20}.${Math.floor(process.pid / 200) % 250}`
const CLIENT_PORT = 7450
const PEER_PORT = 7452

/** Both ends of what the proxy carries, and who began it; undefined: a client. */
interface Carried {
  readonly from: number | undefined
  readonly to: number
  readonly near: Socket
  readonly far: Socket
}

/**
 * Without root: all nodes on loopback addresses, and a TCP proxy before each that holds back bytes, cuts and resets. Who
 * is at the other end it asks the kernel: the process that owns the socket. Packets cannot get lost, for TCP
 * hides that.
 */
export class LoopbackNetwork implements NodeNetwork {
  readonly can: readonly Capability[] = ['delay', 'resets']
  readonly #servers: Server[] = []
  readonly #nodes: number[] = []
  readonly #carried = new Set<Carried>()
  #links: Links = NO_FAULTS

  async place(nodeId: number): Promise<NetworkPlace> {
    this.#nodes.push(nodeId)
    const listenHost = `${OWN}.${nodeId}`
    const advertisedHost = `${OWN}.${nodeId + 100}`
    for (const port of [CLIENT_PORT, PEER_PORT]) {
      const server = createServer({ pauseOnConnect: true }, near =>
        this.#carry(near, nodeId, { host: listenHost, port }),
      )
      await new Promise<void>((resolve, reject) =>
        server.once('error', reject).listen(port, advertisedHost, resolve),
      )
      this.#servers.push(server)
    }
    return { launcher: [], listenHost, advertisedHost }
  }

  async setLinks(links: Links): Promise<void> {
    this.#links = links
    for (const one of this.#carried) this.#control(one)
  }

  async resetConnections(nodeId: number): Promise<void> {
    for (const { from, to, near, far } of this.#carried) {
      if (from !== nodeId && to !== nodeId) continue
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { near, far } of this.#carried) {
      near.destroy()
      far.destroy()
    }
    await Promise.all(this.#servers.map(one => new Promise(resolve => one.close(resolve))))
  }

  async #carry(near: Socket, to: number, target: { host: string; port: number }): Promise<void> {
    near.on('error', () => near.destroy())
    const owner = await ownerOf(near.remotePort ?? 0)
    const from = this.#nodes.find(nodeId => owner?.includes(`${OWN}.${nodeId + 100}\0`))
    if (near.destroyed) return
    const far = openSocket({ ...target, noDelay: true })
    near.setNoDelay(true)
    const one: Carried = { from, to, near, far }
    this.#carried.add(one)
    far.on('error', () => near.destroy())
    const end = () => {
      this.#carried.delete(one)
      near.destroy()
      far.destroy()
    }
    near.on('close', end)
    far.on('close', end)
    this.#pass(near, far, () => this.#fault(from, to))
    this.#pass(far, near, () => this.#fault(to, from))
    this.#control(one)
  }

  /** Bytes one way, each chunk after the delay of its link; in order, and no faster than they are taken. */
  #pass(source: Socket, target: Socket, fault: () => LinkFault | undefined): void {
    source.on('data', bytes => {
      const [least, most] = fault()?.delayMs ?? [0, 0]
      if (most === 0) {
        if (!target.write(bytes)) this.#untilDrained(source, target)
        return
      }
      source.pause()
      setTimeout(
        () => {
          if (!target.write(bytes)) this.#untilDrained(source, target)
          else if (fault()?.isCut !== true) source.resume()
        },
        (least + most) / 2,
      )
    })
    source.on('end', () => target.end())
  }

  #untilDrained(source: Socket, target: Socket): void {
    source.pause()
    target.once('drain', () => {
      for (const one of this.#carried) if (one.near === source || one.far === source) this.#control(one)
    })
  }

  #control({ from, to, near, far }: Carried): void {
    const hold = (socket: Socket, fault: LinkFault | undefined) =>
      fault?.isCut ? socket.pause() : socket.resume()
    hold(near, this.#fault(from, to))
    hold(far, this.#fault(to, from))
  }

  #fault(from: number | undefined, to: number | undefined): LinkFault | undefined {
    return from === undefined || to === undefined ? undefined : this.#links.get(linkName(from, to))
  }
}

/** Command line of the process whose socket has this local port. */
async function ownerOf(port: number): Promise<string | undefined> {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const table = await readFile('/proc/net/tcp', 'utf8')
  const line = table.split('\n').find(one => one.trim().split(/\s+/)[1]?.endsWith(hex))
  const inode = line?.trim().split(/\s+/)[9]
  if (inode === undefined) return undefined
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const owned = await readdir(`/proc/${pid}/fd`).catch(() => [])
    for (const fd of owned) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
      if (target === `socket:[${inode}]`) return await readFile(`/proc/${pid}/cmdline`, 'utf8')
    }
  }
  return undefined
}
