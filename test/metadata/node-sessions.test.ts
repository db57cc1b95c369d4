import { beforeEach, describe, expect, it } from 'vitest'
import { type DeposedLeader, NodeSessions } from '../../src/metadata/node-sessions.ts'

const TICK_MS = 50
const START_MS = 10_000

/** Node 2 answers Raft every 100 ms as long as it is in `answering`; time moves in ticks of the judge. */
class Judge {
  nowMs = START_MS
  ticks = 0
  readonly sessions: NodeSessions
  /** `node@ms` since the start of the leadership, in order. */
  readonly fenced: string[] = []
  readonly answering = new Map<number, number>()

  constructor(options: { deposed?: DeposedLeader; nodes?: number[] } = {}) {
    const { deposed, nodes = [1, 2, 3] } = options
    this.sessions = new NodeSessions({
      nowMs: START_MS,
      nodes: nodes.map(nodeId => ({ nodeId, nodeEpoch: 1 })),
      deposed,
    })
    for (const nodeId of nodes) this.answering.set(nodeId, 1)
  }

  runFor(durationMs: number): this {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs; ) {
      this.tickAfter(Math.min(this.sessions.periodMs, endMs - this.nowMs))
      this.ticks++
    }
    return this
  }

  /** One tick, `delayMs` after the one before; then a turn, in which answers are read; then the judgement. */
  tickAfter(delayMs: number, { turnMs = 0 } = {}): this {
    this.nowMs += delayMs
    this.sessions.tick(this.nowMs)
    this.nowMs += turnMs
    if (this.nowMs % 100 === 0)
      for (const [nodeId, nodeEpoch] of this.answering) this.sessions.heard({ nodeId, nodeEpoch }, this.nowMs)
    for (const { nodeId } of this.sessions.judge(this.nowMs))
      this.fenced.push(`${nodeId}@${this.nowMs - START_MS}`)
    return this
  }
}

const NODE = { nodeId: 2, nodeEpoch: 1 }
let judge: Judge
beforeEach(() => {
  judge = new Judge()
})

describe('a session', () => {
  it('lives as long as the node answers Raft', () => {
    expect(judge.runFor(60_000).fenced).toEqual([])
    expect(judge.sessions.isAlive(2, judge.nowMs)).toBe(true)
  })

  it('ends when the node was not heard for the session timeout, once', () => {
    judge.runFor(1000)
    judge.answering.delete(2)
    judge.runFor(10_000)
    expect(judge.fenced).toEqual(['2@3000'])
    expect(judge.sessions.isAlive(2, judge.nowMs)).toBe(false)
  })

  it('is looked at half as often as long as all nodes are well, and at each tick when one is not', () => {
    judge.runFor(10_050)
    expect(judge.ticks).toBeLessThan(105)
    judge.answering.delete(2)
    judge.sessions.close(NODE, judge.nowMs - 50)
    judge.sessions.gone(2, judge.nowMs - 49)
    expect(judge.runFor(500).fenced).toEqual(['2@10300'])
    judge.sessions.end(NODE)
    expect(judge.runFor(10_000).ticks).toBeLessThan(220)
  })

  it('belongs to a node epoch: the answers of a restarted process do not keep the one before it alive', () => {
    judge.runFor(1000)
    judge.answering.set(2, 2)
    expect(judge.runFor(5000).fenced).toEqual(['2@3000'])
  })

  it('begins anew when the node registers again', () => {
    judge.answering.delete(2)
    judge.runFor(1500)
    judge.sessions.open(NODE, judge.nowMs)
    expect(judge.runFor(1950).fenced).toEqual([])
    expect(judge.runFor(50).fenced).toEqual(['2@3500'])
  })

  it('is told again when nothing came of it, and not when it was opened since', () => {
    judge.answering.delete(2)
    judge.runFor(2000)
    judge.sessions.retry(NODE)
    judge.runFor(50)
    expect(judge.fenced).toEqual(['2@2000', '2@2050'])
    judge.sessions.open(NODE, judge.nowMs)
    judge.sessions.end(NODE, { onlyIfDue: true })
    expect(judge.sessions.isAlive(2, judge.nowMs)).toBe(true)
    judge.sessions.end(NODE)
    expect(judge.sessions.isAlive(2, judge.nowMs)).toBe(false)
    expect(judge.runFor(5000).fenced).toHaveLength(2)
  })

  it('ends with the fencing also where it is heard again by then', () => {
    judge.answering.delete(2)
    judge.runFor(2000)
    judge.sessions.heard(NODE, judge.nowMs)
    expect(judge.sessions.end(NODE, { onlyIfDue: true })).toBe(true)
    judge.sessions.open(NODE, judge.nowMs)
    expect(judge.sessions.end(NODE, { onlyIfDue: true })).toBe(false)
  })

  it('tells a node that was heard since it registered from one that only hears', () => {
    judge.answering.delete(2)
    judge.sessions.open({ nodeId: 2, nodeEpoch: 2 }, judge.nowMs)
    judge.runFor(500)
    expect(judge.sessions.isReported({ nodeId: 2, nodeEpoch: 2 })).toBe(false)
    judge.answering.set(2, 2)
    judge.runFor(100)
    expect(judge.sessions.isReported({ nodeId: 2, nodeEpoch: 2 })).toBe(true)
  })
})

describe('a stream that closed', () => {
  it('ends the session after the grace if the process is gone', () => {
    judge.runFor(1000)
    judge.answering.delete(2)
    judge.sessions.close(NODE, judge.nowMs)
    judge.sessions.gone(2, judge.nowMs + 1)
    judge.runFor(250)
    expect(judge.fenced).toEqual([])
    expect(judge.runFor(50).fenced).toEqual(['2@1300'])
  })

  it('does not shorten the session of a node that is silent: cut off, it may answer others all the same', () => {
    judge.runFor(1000)
    judge.answering.delete(2)
    judge.sessions.close(NODE, judge.nowMs)
    expect(judge.runFor(5000).fenced).toEqual(['2@3000'])
  })

  it('counts as long as the process that is gone is the one of the session', () => {
    judge.answering.delete(2)
    judge.runFor(500)
    judge.sessions.gone(2, judge.nowMs + 1)
    judge.runFor(100)
    judge.sessions.open({ nodeId: 2, nodeEpoch: 2 }, judge.nowMs)
    // What was told of the one before is told again and again.
    judge.sessions.gone(2, START_MS + 500)
    judge.sessions.close({ nodeId: 2, nodeEpoch: 2 }, judge.nowMs)
    expect(judge.runFor(5000).fenced).toEqual(['2@2600'])
  })

  it('that is open still speaks against what the port says, and so does an answer', () => {
    judge.runFor(1000)
    judge.sessions.gone(2, judge.nowMs + 1)
    expect(judge.runFor(1000).fenced).toEqual([])
    judge.sessions.close(NODE, judge.nowMs)
    judge.answering.delete(2)
    expect(judge.runFor(5000).fenced).toEqual(['2@4000'])
  })

  it('changes nothing when it is back within the grace', () => {
    judge.runFor(1000)
    judge.answering.delete(2)
    judge.sessions.close(NODE, judge.nowMs)
    judge.runFor(250)
    judge.sessions.open(NODE, judge.nowMs)
    judge.answering.set(2, 1)
    expect(judge.runFor(5000).fenced).toEqual([])
  })

  it('does not shorten the session of a node that goes on answering', () => {
    judge.runFor(1000)
    judge.sessions.close(NODE, judge.nowMs)
    expect(judge.runFor(1900).fenced).toEqual([])
  })

  it('ends the session of a node that cannot get a stream for a whole session', () => {
    judge.runFor(1000)
    judge.sessions.close(NODE, judge.nowMs)
    expect(judge.runFor(5000).fenced).toEqual(['2@3000'])
  })

  it('counts only if it is the one of the session: not that of the process before', () => {
    judge.sessions.open({ nodeId: 2, nodeEpoch: 2 }, judge.nowMs)
    judge.sessions.close(NODE, judge.nowMs)
    judge.answering.delete(2)
    expect(judge.runFor(1950).fenced).toEqual([])
  })

  it('never makes a session longer', () => {
    judge.answering.delete(2)
    judge.runFor(1900)
    judge.sessions.close(NODE, judge.nowMs)
    expect(judge.runFor(5000).fenced).toEqual(['2@2000'])
  })
})

describe('a new controller', () => {
  it('gives each node a full session, whenever it was last heard by others', () => {
    judge.answering.clear()
    judge.runFor(1950)
    expect(judge.fenced).toEqual([])
    expect(judge.runFor(50).fenced).toEqual(['1@2000', '2@2000', '3@2000'])
  })

  it("counts the deposed leader's node from when that leader was last heard", () => {
    judge = new Judge({ deposed: { nodeId: 1, heardMs: START_MS - 1200, heardHereMs: START_MS - 1300 } })
    judge.answering.clear()
    expect(judge.runFor(1000).fenced).toEqual(['1@800'])
  })

  it("fences the deposed leader's node when the grace is over, counted from when its connection was lost", () => {
    const heardHereMs = START_MS - 260
    // What others have heard is told by their votes, and so appears to be later than it was.
    const seen = { nodeId: 1, heardMs: START_MS - 20, heardHereMs, closedMs: START_MS - 200 }
    const refusedMs = START_MS - 190
    judge = new Judge({ deposed: seen })
    judge.answering.delete(1)
    judge.sessions.gone(1, refusedMs)
    expect(judge.runFor(1000).fenced).toEqual(['1@100'])
    judge = new Judge({ deposed: seen })
    judge.answering.delete(1)
    judge.sessions.gone(1, refusedMs)
    judge.sessions.open({ nodeId: 1, nodeEpoch: 1 }, START_MS + 20)
    judge.sessions.gone(1, refusedMs)
    expect(judge.runFor(1000).fenced).toEqual([])
  })

  it("waits for the session of the deposed leader's node where only the connection was lost", () => {
    judge = new Judge({
      deposed: { nodeId: 1, heardMs: START_MS - 60, heardHereMs: START_MS - 260, closedMs: START_MS - 200 },
    })
    judge.answering.delete(1)
    expect(judge.runFor(5000).fenced).toEqual(['1@1950'])
  })

  it("gives the deposed leader's node the grace to show itself, however long ago that was", () => {
    judge = new Judge({ deposed: { nodeId: 1, heardMs: START_MS - 60_000, heardHereMs: START_MS - 60_000 } })
    expect(judge.runFor(5000).fenced).toEqual([])
    judge = new Judge({ deposed: { nodeId: 1, heardMs: START_MS - 60_000, heardHereMs: START_MS - 60_000 } })
    judge.answering.delete(1)
    expect(judge.runFor(1000).fenced).toEqual(['1@300'])
  })

  it('fences early only for a stream that it saw close itself', () => {
    judge.answering.delete(2)
    expect(judge.runFor(1950).fenced).toEqual([])
  })
})

describe('a judge that stood still', () => {
  it('expels nobody on waking: its stall is added to every deadline', () => {
    judge.runFor(1000)
    judge.tickAfter(30_000)
    expect(judge.runFor(5000).fenced).toEqual([])
  })

  it('waits on for what is left of the deadline', () => {
    judge.runFor(1000)
    judge.answering.delete(2)
    judge.runFor(1500)
    judge.tickAfter(30_000 + TICK_MS)
    expect(judge.runFor(400).fenced).toEqual([])
    expect(judge.runFor(100).fenced).toEqual(['2@33000'])
  })

  it('adds it to the grace of a stream that closed, too', () => {
    judge.answering.delete(2)
    judge.runFor(1000)
    judge.sessions.close(NODE, judge.nowMs)
    judge.sessions.gone(2, judge.nowMs + 1)
    judge.runFor(200)
    judge.tickAfter(700 + TICK_MS)
    expect(judge.fenced).toEqual([])
    expect(judge.runFor(100).fenced).toEqual(['2@2000'])
  })

  it('judges only after a turn that has read the sockets: not when it stood still within one', () => {
    judge.answering.delete(2)
    judge.runFor(1950)
    judge.tickAfter(0, { turnMs: 5000 })
    expect(judge.fenced).toEqual([])
    judge.answering.set(2, 1)
    expect(judge.runFor(5000).fenced).toEqual([])
  })

  it('judges nothing without a tick', () => {
    judge.answering.delete(2)
    judge.runFor(1950)
    expect(judge.sessions.judge(START_MS + 1999)).toEqual([])
    expect(judge.sessions.judge(START_MS + 2000)).toEqual([])
  })

  it('lets a node that is gone go in the end, however often it stands still for a moment', () => {
    judge.answering.delete(2)
    for (let i = 0; i < 60; i++) judge.tickAfter(120)
    expect(judge.fenced).toHaveLength(1)
  })
})
