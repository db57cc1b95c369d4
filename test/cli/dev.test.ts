import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePortRows } from '../harness/free-ports.ts'
import { DevTerminal } from './dev/dev-terminal.ts'

/** Everything of `naru dev` but the nodes: these are processes that only look like `naru server`. */
let root: string
let data: string
let portBase: number
let running: DevTerminal | undefined

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'naru-dev-'))
  data = join(root, 'data')
  portBase = await freePortRows(3)
})

afterEach(async () => {
  running?.interrupt()
  await running?.ended
  running = undefined
  rmSync(root, { recursive: true, force: true })
})

function dev(...words: string[]) {
  return DevTerminal.run(['dev', ...words, '--data', data])
}

async function start(...words: string[]): Promise<DevTerminal> {
  running = new DevTerminal(['dev', '--data', data, '--port-base', String(portBase), ...words])
  await Promise.race([running.untilReady(), running.ended])
  return running
}

async function nodes(): Promise<{ nodeId: number; state: string; pid?: number; detail?: string }[]> {
  return JSON.parse((await dev('status', '-o', 'json')).out)
}

async function states(): Promise<string> {
  return (await nodes()).map(one => one.state).join(' ')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('a dev cluster', () => {
  it('is three nodes that know each other, and says where they are and what to try', async () => {
    const { out } = await start()
    expect(out).toMatch(/^Naru is running: 3 nodes, ready after /)
    for (const node of [0, 1, 2]) expect(out).toContain(`127.0.0.1:${portBase + 10 * node} `)
    const addresses = [0, 10, 20].map(port => `127.0.0.1:${portBase + port}`).join(',')
    expect(out).toContain(`\n  export NARU_BOOTSTRAP=${addresses}\n  naru topics create test --partitions 20`)
    expect(out).toContain('\n  naru dev kill 2\n')
    expect(await states()).toBe('running running running')
    await dev('restart', '1')
    const peers = [2, 12, 22].map(port => `127.0.0.1:${portBase + port}`).join(',')
    expect(running?.err).toContain(`node 1 | [`)
    expect(running?.err).toContain(peers)
  })

  it('has nodes that are killed, paused, resumed, stopped and started again from another terminal', async () => {
    await start()
    const [, , third] = await nodes()
    expect(await dev('kill', '2')).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^node 2 killed \(SIGKILL, pid \d+\)/),
    })
    expect(await dev('pause', '3')).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^node 3 paused/),
    })
    expect(await states()).toBe('running killed paused')
    expect(await dev('pause', '3')).toMatchObject({ exitCode: 4, err: 'naru: node 3 is paused already\n' })
    expect(await dev('kill', '2')).toMatchObject({
      exitCode: 3,
      err: 'naru: node 2 does not run, it is killed (start it: naru dev restart 2)\n',
    })
    expect(await dev('resume', '3')).toMatchObject({ exitCode: 0, out: expect.stringContaining('SIGCONT') })
    expect(await dev('stop', '1')).toMatchObject({ exitCode: 0 })
    expect(await states()).toBe('stopped killed running')
    expect((await dev('restart', '1', '2')).out).toMatch(/^node 1 serves again.*\nnode 2 serves again.*\n$/)
    expect(await states()).toBe('running running running')
    expect((await nodes())[2]?.pid).toBe(third?.pid)
    expect(await dev('kill', '7')).toMatchObject({
      exitCode: 3,
      err: 'naru: this dev cluster has no node 7 (it has 1, 2, 3)\n',
    })
  })

  it('stops all nodes in order at Ctrl-C, paused ones too, and keeps their data', async () => {
    const terminal = await start()
    await dev('pause', '2')
    const pids = (await nodes()).map(one => one.pid ?? 0)
    terminal.interrupt()
    // Npm and the terminal both pass the same key on.
    terminal.interrupt(1)
    expect(await terminal.ended).toBe(0)
    expect(terminal.err.match(/the node has stopped/g)).toHaveLength(3)
    expect(pids.filter(isAlive)).toEqual([])
    expect(existsSync(data)).toBe(true)
    expect(await dev('status')).toMatchObject({
      exitCode: 3,
      err: `naru: no dev cluster runs in ${data} (start one: naru dev; one elsewhere: --data DIRECTORY)\n`,
    })
  })

  it('is killed by a second Ctrl-C', async () => {
    const terminal = await start('--rack', 'deaf')
    const pids = (await nodes()).map(one => one.pid ?? 0)
    terminal.interrupt()
    terminal.interrupt()
    expect(await terminal.ended).toBe(130)
    expect(pids.filter(isAlive)).toEqual([])
  })

  it('is stopped from another terminal, which is told when it is over', async () => {
    const terminal = await start('--nodes', '1')
    expect(await dev('stop')).toMatchObject({ exitCode: 0, out: 'stopped the dev cluster; its data stay\n' })
    expect(await terminal.ended).toBe(0)
  })

  it('tells of a node that ends by itself: how, and what it said last; and does not start it again', async () => {
    const terminal = await start()
    await fetch(`http://127.0.0.1:${portBase + 11}/die`).catch(() => {})
    await expect.poll(states).toBe('running failed running')
    expect((await nodes())[1]).toMatchObject({ detail: 'ended with exit code 70' })
    expect(terminal.err).toContain('node 2 | ENDED BY ITSELF with exit code 70; it said last:')
    expect(terminal.err).toMatch(/node 2 \| {3}\[.*FATAL: a broken invariant/)
    expect(terminal.err).toContain('node 2 | start it again: naru dev restart 2')
  })

  it('that cannot start ends as a whole', async () => {
    const terminal = await start('--rack', 'fails')
    expect(await terminal.ended).toBe(5)
    expect(terminal.err).toContain('naru: node 2 ended before it was ready (ended with exit code 74)')
    expect(terminal.err).toMatch(/ERROR: the disk is gone/)
    running = undefined
  })
})

describe('before it starts anything, naru dev', () => {
  it('says which port is in use, and by whom', async () => {
    const other = createServer().listen(portBase + 12, '127.0.0.1')
    try {
      const { exitCode, err } = await dev('--port-base', String(portBase))
      expect(exitCode).toBe(5)
      expect(err).toContain(`naru: port ${portBase + 12} is in use by process ${process.pid} (`)
      expect(err).toContain('stop what uses it, or take other ports with --port-base')
    } finally {
      other.close()
    }
  })

  it('refuses to run twice over the same data', async () => {
    await start()
    const second = await dev('--port-base', String(await freePortRows(3)))
    expect(second).toMatchObject({
      exitCode: 4,
      err: expect.stringContaining(`runs in ${data} already (pid`),
    })
    expect(await states()).toBe('running running running')
  })

  it('sees that a control file is of one that was killed', async () => {
    mkdirSync(data)
    writeFileSync(join(data, 'naru-dev.json'), '{"version":1,"nodeCount":1,"portBase":1}')
    writeFileSync(join(data, 'naru-dev-control.json'), '{"pid":999999,"port":9,"token":"x"}')
    expect(await dev('status')).toMatchObject({ exitCode: 3 })
    await start()
    expect(await states()).toBe('running')
  })

  it('leaves directories alone that it did not make', async () => {
    mkdirSync(data)
    writeFileSync(join(data, 'node.json'), '{}')
    for (const words of [[], ['--fresh']]) {
      expect(await dev(...words)).toMatchObject({
        exitCode: 2,
        err: `naru: ${data} belongs to a node of naru server (node.json): give another directory with --data\n`,
      })
    }
    expect(readdirSync(data)).toEqual(['node.json'])
  })

  it('keeps data, number of nodes and ports from start to start, until it shall begin anew', async () => {
    const first = await start('--nodes', '2')
    first.interrupt()
    await first.ended
    mkdirSync(join(data, 'node-1'))
    writeFileSync(join(data, 'node-1', 'records'), 'kept')
    writeFileSync(join(data, 'notes'), 'not of naru dev')
    expect(await dev('--nodes', '3')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('holds a dev cluster of 2 nodes, not 3'),
    })

    expect(await dev('--keep', '--fresh')).toMatchObject({ exitCode: 2 })
    running = new DevTerminal(['dev', '--keep', '--data', data])
    await running.untilReady()
    expect(running.out).toContain(`2 nodes`)
    expect(running.out).toContain(`127.0.0.1:${portBase + 10} `)
    expect(existsSync(join(data, 'node-1', 'records'))).toBe(true)
    running.interrupt()
    await running.ended

    await start('--fresh')
    expect(running.out).toContain('3 nodes')
    expect(existsSync(join(data, 'node-1'))).toBe(false)
    expect(existsSync(join(data, 'notes'))).toBe(true)
  })

  it('refuses settings that it chooses itself, and wrong ones', async () => {
    expect(await dev('--client-port', '1')).toMatchObject({ exitCode: 2 })
    expect(await dev('--num-partitions', 'x')).toMatchObject({ exitCode: 2 })
    expect(await dev('--nodes', '10')).toMatchObject({ exitCode: 2 })
    expect(existsSync(data)).toBe(false)
  })
})
