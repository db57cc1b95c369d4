import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import type { Disk } from '../../ports/disk.ts'
import type { MessageStream, ServiceHandlers } from '../../ports/transport.ts'
import type { MemberId } from '../../raft/membership.ts'
import type { RaftMessage, SnapshotMessage } from '../../raft/messages.ts'
import { Raft } from '../../wire/generated/internal-services.ts'
import { checkHello, helloTo, type KnownDirectory, toldIn } from './raft-hello.ts'
import { fromWire } from './raft-message-codec.ts'
import {
  type ConnectionState,
  RAFT_PEER_LIMITS,
  RaftPeer,
  type RaftPeerLimits,
  type RaftPeerOptions,
} from './raft-peer.ts'
import { type ReceivedSnapshot, SnapshotReceiver } from './snapshot-receiver.ts'
import { SnapshotSender, type SnapshotSource } from './snapshot-sender.ts'

export interface RaftStreamLimits extends RaftPeerLimits {
  /** Members that this one talks to, and those that talk to it. */
  readonly peersMax: number
  /** A connection over which nothing was sent for so long is closed: its member is gone, or a learner's peer. */
  readonly idleMs: number
  /** Snapshots on their way to others; further ones wait for the core to ask again. */
  readonly snapshotsInFlightMax: number
  /** A transfer of which nothing moved for so long has failed. */
  readonly snapshotStallMs: number
}

const RAFT_STREAM_LIMITS: RaftStreamLimits = {
  ...RAFT_PEER_LIMITS,
  peersMax: 1000,
  idleMs: 60_000,
  snapshotsInFlightMax: 4,
  snapshotStallMs: 10_000,
}

export interface RaftStreamsOptions
  extends Omit<RaftPeerOptions, 'member' | 'limits' | 'onConnection' | 'onTold'> {
  readonly disk: Disk
  readonly limits?: Partial<RaftStreamLimits>
}

/** What the network brings. */
export interface RaftStreamsListener {
  onMessage(message: RaftMessage): void
  onConnection(member: MemberId, state: ConnectionState): void
  /** What a member knows of this node's directory: with its hello, so before it asks for a vote. */
  onTold(known: KnownDirectory): void
  /** The snapshot to send now, opened; the receiver closes it. */
  openSnapshot(): Promise<SnapshotSource>
  onSnapshotReport(to: MemberId, status: 'progress' | 'failed'): void
  /** Undefined: what is there already reaches as far. Else where to gather it. */
  placeForSnapshot(message: SnapshotMessage): string | undefined
  onSnapshot(received: ReceivedSnapshot): void
}

/**
 * A member's connections to the others: one stream of messages to each, one from each, and a stream of its own for
 * each snapshot. Every stream says first who talks to whom, in which cluster; the envelope of every message is that.
 */
export class RaftStreams {
  readonly #options: RaftStreamsOptions
  readonly #listener: RaftStreamsListener
  readonly #limits: RaftStreamLimits
  readonly #peers = new Map<MemberId, RaftPeer>()
  readonly #incoming = new Map<MemberId, MessageStream>()
  readonly #sending = new Map<MemberId, SnapshotSender>()
  readonly #receiver: SnapshotReceiver
  #sweepTimer: Timer | undefined
  #isClosed = false

  constructor(options: RaftStreamsOptions, listener: RaftStreamsListener) {
    this.#options = options
    this.#listener = listener
    this.#limits = { ...RAFT_STREAM_LIMITS, ...options.limits }
    this.#receiver = new SnapshotReceiver(options, listener)
    this.#scheduleSweep()
  }

  /** What the peers' port of this node serves for Raft. */
  get handlers(): ServiceHandlers {
    return new Map([
      [Raft.exchange.path, { kind: 'stream', handle: stream => this.#accept(stream) }],
      [Raft.installSnapshot.path, { kind: 'stream', handle: stream => this.#receiver.accept(stream) }],
    ])
  }

  send(message: RaftMessage): void {
    if (this.#isClosed) return
    if (message.type === 'snapshot') this.#sendSnapshot(message)
    else this.#peerOf(message.to)?.send(message)
  }

  redial(member: MemberId): void {
    if (!this.#isClosed) this.#peers.get(member)?.redial()
  }

  close(): void {
    this.#isClosed = true
    this.#sweepTimer?.cancel()
    for (const peer of this.#peers.values()) peer.close()
    for (const sender of this.#sending.values()) sender.close()
    const error = new NaruError('NODE_DRAINING', `${this.#options.self} is stopping`)
    for (const stream of this.#incoming.values()) stream.fail(error)
    this.#receiver.close(error)
    this.#peers.clear()
    this.#sending.clear()
    this.#incoming.clear()
  }

  #peerOf(member: MemberId): RaftPeer | undefined {
    const known = this.#peers.get(member)
    if (known) return known
    if (this.#peers.size >= this.#limits.peersMax) return undefined
    const { onConnection } = this.#listener
    const peer = new RaftPeer({
      ...this.#options,
      member,
      limits: this.#limits,
      onConnection: (of, state) => onConnection.call(this.#listener, of, state),
      onTold: known => this.#listener.onTold(known),
    })
    this.#peers.set(member, peer)
    return peer
  }

  #accept(stream: MessageStream): void {
    let from: MemberId | undefined
    stream.setHandlers({
      onMessage: bytes => {
        try {
          const { hello, message } = Raft.exchange.request.decode(bytes)
          if (from === undefined) {
            from = this.#welcome(stream, checkHello(hello, this.#options))
            const told = hello && toldIn(hello)
            if (told) this.#listener.onTold(told)
          } else if (message && this.#incoming.get(from) === stream)
            this.#listener.onMessage(fromWire(message, { from, to: this.#options.self }))
        } catch (thrown) {
          if (!(thrown instanceof NaruError)) throw thrown
          stream.fail(thrown)
        }
      },
      onEnd: () => stream.end(),
      onClose: () => {
        if (from !== undefined && this.#incoming.get(from) === stream) this.#incoming.delete(from)
      },
    })
  }

  #welcome(stream: MessageStream, from: MemberId): MemberId {
    const { self } = this.#options
    if (this.#isClosed) throw new NaruError('NODE_DRAINING', `${self} is stopping`)
    const earlier = this.#incoming.get(from)
    if (!earlier && this.#incoming.size >= this.#limits.peersMax)
      throw new NaruError('OVERLOADED', `${this.#limits.peersMax} members talk to ${self} already`)
    this.#incoming.set(from, stream)
    // The sender dialled anew, so it has given that one up; what still comes over it is older than what it sends now.
    earlier?.fail(new NaruError('CANCELLED', `${from} has opened another stream`))
    stream.write(Raft.exchange.response.encode({ hello: helloTo(from, this.#options) }))
    return from
  }

  #sendSnapshot(message: SnapshotMessage): void {
    const { to } = message
    this.#sending.get(to)?.close()
    this.#sending.delete(to)
    const address = this.#options.addressOf(to)
    if (address === undefined || this.#sending.size >= this.#limits.snapshotsInFlightMax) {
      this.#options.clock.afterTurn(() => this.#reportSnapshot(to, 'failed'))
      return
    }
    const sender = new SnapshotSender({
      ...this.#options,
      address,
      message,
      stallMs: this.#limits.snapshotStallMs,
      open: () => this.#listener.openSnapshot(),
      onProgress: () => this.#reportSnapshot(to, 'progress'),
      onDone: error => {
        if (this.#sending.get(to) !== sender) return
        this.#sending.delete(to)
        if (error) this.#reportSnapshot(to, 'failed')
      },
    })
    this.#sending.set(to, sender)
    void sender.run()
  }

  #reportSnapshot(to: MemberId, status: 'progress' | 'failed'): void {
    if (!this.#isClosed) this.#listener.onSnapshotReport(to, status)
  }

  #scheduleSweep(): void {
    const { clock } = this.#options
    this.#sweepTimer = clock.setTimer(this.#limits.idleMs, () => {
      const idleSinceMs = clock.monotonicMs() - this.#limits.idleMs
      for (const [member, peer] of this.#peers) {
        if (peer.usedMs > idleSinceMs) continue
        peer.close()
        this.#peers.delete(member)
      }
      this.#scheduleSweep()
    })
  }
}
