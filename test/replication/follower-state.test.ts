import { beforeEach, describe, expect, test } from 'vitest'
import {
  type FollowerEffect,
  FollowerState,
  type FollowerStateOptions,
} from '../../src/replication/follower-state.ts'
import type { PartitionMetadata } from '../../src/replication/partition-metadata.ts'
import { REPLICA_TIMING } from '../../src/replication/replica-timing.ts'
import { ArrayLog } from './array-log.ts'

const METADATA: PartitionMetadata = {
  replicas: [1, 2, 3],
  isr: [1, 2],
  elr: [],
  leader: 1,
  leaderEpoch: 5,
  partitionEpoch: 10,
  lastUncleanEpoch: null,
}
const ENDS = { highWatermark: 0, logStartOffset: 0 }

let log: ArrayLog

beforeEach(() => {
  log = ArrayLog.ofEpochs('1122')
})

function start(
  options: Partial<FollowerStateOptions> & { metadata?: PartitionMetadata } = {},
): FollowerState {
  let number = 0
  const state = new FollowerState({
    self: 2,
    metadata: METADATA,
    log,
    storedEndOffset: log.logEndOffset,
    known: { offset: log.highWatermark, leaderEpoch: log.latestEpoch ?? 0 },
    isDamaged: false,
    nextNumber: () => ++number,
    timing: REPLICA_TIMING,
    ...options,
  })
  return state
}

/** Connected, and its Follow (number 1) accepted. */
function following(options: Partial<FollowerStateOptions> = {}): FollowerState {
  const state = start(options)
  state.begin(0)
  state.onConnected(0)
  state.onProgress(1, ENDS)
  return state
}

function typesOf(effects: readonly FollowerEffect[]): string[] {
  return effects.map(effect => effect.type)
}

test('asks with its end and the epoch of its last record once it is connected', () => {
  const state = start()
  expect(state.begin(0)).toEqual([])
  expect(state.onConnected(0)).toEqual([
    {
      type: 'sendFollow',
      follow: {
        number: 1,
        leaderEpoch: 5,
        partitionEpoch: 10,
        fetchOffset: 4,
        lastFetchedEpoch: 2,
        isDamaged: false,
        isFull: false,
      },
    },
  ])
})

test('acknowledges what its disk holds when it is accepted, and then what is added', () => {
  const state = start({ storedEndOffset: 3 })
  state.onConnected(0)
  expect(state.onProgress(1, ENDS)).toEqual([{ type: 'acknowledge', number: 1, endOffset: 3 }])
  expect(state.onStored(4)).toEqual([{ type: 'acknowledge', number: 1, endOffset: 4 }])
  expect(state.onStored(4)).toEqual([])
})

test('appends only what begins at its end; else it asks again under another number (C1)', () => {
  const state = following()
  expect(state.onData(1, 4, 0)).toEqual([{ type: 'append' }])
  expect(state.onData(1, 6, 0)).toMatchObject([{ type: 'sendFollow', follow: { number: 2 } }])
})

test('frames of another number change nothing (C1)', () => {
  const state = following()
  expect(state.onData(0, 4, 0)).toEqual([])
  expect(state.onProgress(7, { highWatermark: 4, logStartOffset: 0 })).toEqual([])
  expect(state.onDiverged(7, { kind: 'diverged', epoch: 1, endOffset: 1, logStartOffset: 0 })).toEqual([])
  expect(state.onRefused(7, { kind: 'refused', reason: 'RESET', logStartOffset: 9 }, 0)).toEqual([])
  expect(state.phase).toBe('following')
})

describe('the high watermark', () => {
  test('is min(HW, LEO), and never falls (C3)', () => {
    const state = following()
    expect(state.onProgress(1, { highWatermark: 9, logStartOffset: 0 })).toEqual([
      { type: 'advanceHighWatermark', highWatermark: 4 },
    ])
    log.highWatermark = 4
    expect(state.onProgress(1, { highWatermark: 2, logStartOffset: 0 })).toEqual([])
  })

  test('moves the log start at most up to itself', () => {
    const state = following()
    expect(state.onProgress(1, { highWatermark: 3, logStartOffset: 8 })).toEqual([
      { type: 'advanceHighWatermark', highWatermark: 3 },
      { type: 'moveLogStart', offset: 3 },
    ])
  })
})

describe('divergence', () => {
  test('cuts by epochs, asks again only when that is durable, and takes nothing meanwhile', () => {
    const state = start()
    state.onConnected(0)
    const diverged = { kind: 'diverged', epoch: 1, endOffset: 3, logStartOffset: 0 } as const
    expect(state.onDiverged(1, diverged)).toEqual([{ type: 'truncateTo', offset: 2 }])
    expect(state.onData(1, 4, 0)).toEqual([])
    expect(state.onMetadata({ ...METADATA, leaderEpoch: 6, partitionEpoch: 11 }, 0)).toEqual([])
    log.truncateTo(2)
    expect(state.onCut(2, 0)).toMatchObject([
      { type: 'sendFollow', follow: { number: 2, leaderEpoch: 6, fetchOffset: 2, lastFetchedEpoch: 1 } },
    ])
  })

  test('below the highest HW known is not followed: quarantine (C6)', () => {
    const state = following()
    state.onProgress(1, { highWatermark: 4, logStartOffset: 0 })
    state.onMetadata({ ...METADATA, leader: 3, leaderEpoch: 6, partitionEpoch: 11 }, 0)
    state.onConnected(0)
    const effects = state.onDiverged(2, { kind: 'diverged', epoch: 2, endOffset: 3, logStartOffset: 0 })
    expect(effects).toMatchObject([{ type: 'quarantine', offset: 4 }])
    expect(state.phase).toBe('damaged')
  })

  test('below it is followed after an unclean election', () => {
    const state = following()
    state.onProgress(1, { highWatermark: 4, logStartOffset: 0 })
    state.onMetadata({ ...METADATA, leader: 3, leaderEpoch: 6, partitionEpoch: 11, lastUncleanEpoch: 6 }, 0)
    state.onConnected(0)
    const effects = state.onDiverged(2, { kind: 'diverged', epoch: 2, endOffset: 3, logStartOffset: 0 })
    expect(effects).toEqual([{ type: 'truncateTo', offset: 3 }])
  })

  test('from what an earlier leadership of this node knew to be committed is quarantine, too', () => {
    const state = start({ known: { offset: 4, leaderEpoch: 4 } })
    state.onConnected(0)
    const effects = state.onDiverged(1, { kind: 'diverged', epoch: 2, endOffset: 3, logStartOffset: 0 })
    expect(typesOf(effects)).toEqual(['quarantine'])
  })
})

describe('refused', () => {
  test('with RESET it empties its log, unless it is in the ISR (B8)', () => {
    const reset = { kind: 'refused', reason: 'RESET', logStartOffset: 9 } as const
    const out = start({ metadata: { ...METADATA, isr: [1] } })
    out.onConnected(0)
    expect(out.onRefused(1, reset, 0)).toEqual([{ type: 'resetTo', offset: 9 }])
    const inSync = start()
    inSync.onConnected(0)
    expect(inSync.onRefused(1, reset, 0)).toEqual([])
    expect(typesOf(inSync.tick(1000))).toEqual(['sendFollow'])
  })

  test('it waits before it asks again; AGAIN and OTHER_LANE ask at once', () => {
    const state = start()
    state.onConnected(0)
    expect(state.onRefused(1, { kind: 'refused', reason: 'FENCED', logStartOffset: 0 }, 0)).toEqual([])
    expect(state.tick(99)).toEqual([])
    expect(state.tick(100)).toMatchObject([{ follow: { number: 2 } }])
    const again = state.onRefused(2, { kind: 'refused', reason: 'AGAIN', logStartOffset: 0 }, 100)
    expect(again).toMatchObject([{ follow: { number: 3 } }])
  })

  test('new metadata end the waiting', () => {
    const state = start()
    state.onConnected(0)
    state.onRefused(1, { kind: 'refused', reason: 'NOT_LEADER', logStartOffset: 0 }, 0)
    const effects = state.onMetadata({ ...METADATA, leaderEpoch: 6, partitionEpoch: 11 }, 1)
    expect(effects).toMatchObject([{ follow: { leaderEpoch: 6 } }])
  })
})

test('a quarantined replica is emptied once it is in neither ISR nor ELR, and follows from then on (B4)', () => {
  const reset = { kind: 'refused', reason: 'RESET', logStartOffset: 0 } as const
  const state = start({ isDamaged: true })
  expect(state.begin(0)).toEqual([])
  expect(state.onConnected(0)).toMatchObject([{ follow: { number: 1, isDamaged: true } }])
  expect(state.onProgress(1, ENDS)).toEqual([])
  expect(state.onRefused(1, { ...reset, reason: 'DAMAGED' }, 0)).toEqual([])
  const inElr = { ...METADATA, isr: [1], elr: [2], partitionEpoch: 11 }
  expect(state.onMetadata(inElr, 0)).toMatchObject([{ follow: { number: 2, isDamaged: true } }])
  expect(state.onRefused(2, reset, 0)).toEqual([])
  expect(typesOf(state.onMetadata({ ...METADATA, isr: [1], partitionEpoch: 12 }, 0))).toEqual(['sendFollow'])
  expect(state.onRefused(3, reset, 0)).toEqual([{ type: 'resetTo', offset: 0 }])
  log.resetTo(0)
  expect(state.onCut(0, 0)).toMatchObject([{ follow: { number: 4, isDamaged: false } }])
  expect(typesOf(state.onProgress(4, ENDS))).toContain('acknowledge')
})

test('a cut that failed is asked for again a while later, and what is damaged stays so', () => {
  const reset = { kind: 'refused', reason: 'RESET', logStartOffset: 0 } as const
  const state = start({ isDamaged: true, metadata: { ...METADATA, isr: [1] } })
  state.onConnected(0)
  expect(state.onRefused(1, reset, 0)).toEqual([{ type: 'resetTo', offset: 0 }])
  expect(state.isQuiet).toBe(true)
  state.onCutFailed(0)
  expect(state.isQuiet).toBe(false)
  expect(state.tick(50)).toEqual([])
  expect(state.tick(100)).toMatchObject([{ follow: { number: 2, isDamaged: true } }])
})

test('a new leader epoch ends what stood; metadata epochs never go back', () => {
  const state = following()
  state.onMetadata({ ...METADATA, leader: 3, leaderEpoch: 6, partitionEpoch: 11 }, 0)
  expect(state.onData(1, 4, 0)).toEqual([])
  expect(state.leader).toBe(3)
  expect(state.onMetadata(METADATA, 0)).toEqual([])
  expect(state.leader).toBe(3)
  expect(() => state.onMetadata({ ...METADATA, partitionEpoch: 12 }, 0)).toThrow('never go back')
})

test('a Follow that nobody answers is sent anew', () => {
  const state = start()
  state.onConnected(0)
  expect(state.tick(3000)).toEqual([])
  expect(state.tick(3001)).toMatchObject([{ follow: { number: 2 } }])
})

test('a log that does not take the data asks again later', () => {
  const state = following()
  state.onAppendFailed(0)
  expect(state.tick(50)).toEqual([])
  expect(typesOf(state.tick(100))).toEqual(['sendFollow'])
})
