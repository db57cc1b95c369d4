import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer } from 'node:net'

export interface BusyPort {
  readonly port: number
  /** Undefined: the system does not tell (another user's process, or not Linux). */
  readonly owner: { readonly pid: number; readonly command: string } | undefined
}

/** Which of these ports another process listens on, and whose they are. */
export async function busyPorts(host: string, ports: readonly number[]): Promise<BusyPort[]> {
  const busy: BusyPort[] = []
  for (const port of ports) {
    if (await isFree(host, port)) continue
    busy.push({ port, owner: await ownerOf(port) })
  }
  return busy
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Through /proc: the socket that listens there, then the process that has it open. */
async function ownerOf(port: number): Promise<BusyPort['owner']> {
  try {
    const inodes = new Set([
      ...(await listeningSockets('/proc/net/tcp', port)),
      ...(await listeningSockets('/proc/net/tcp6', port)),
    ])
    if (inodes.size === 0) return undefined
    for (const pid of (await readdir('/proc')).filter(name => /^\d+$/.test(name))) {
      if (!(await hasSocket(pid, inodes))) continue
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')
      return { pid: Number(pid), command: words.join(' ').trim().slice(0, COMMAND_CHARACTERS_MAX) }
    }
  } catch {
    // A hint, no more: without /proc the message names the port alone.
  }
  return undefined
}

const COMMAND_CHARACTERS_MAX = 120

async function listeningSockets(table: string, port: number): Promise<string[]> {
  const lines = (await readFile(table, 'latin1')).split('\n').slice(1)
  const fields = lines.map(line => line.trim().split(/\s+/))
  const isListening = '0A'
  return fields
    .filter(([, local, , state]) => state === isListening && portOf(local) === port)
    .map(one => one[9] ?? '')
}

function portOf(address = ''): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16)
}

async function hasSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  // Of other users' processes nothing can be read; of one that has just ended neither.
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => [])
  for (const descriptor of descriptors) {
    const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
    if (inode !== undefined && inodes.has(inode)) return true
  }
  return false
}
