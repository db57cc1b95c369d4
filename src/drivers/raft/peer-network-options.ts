import type { NodeId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { NodeIdentity } from '../../log/node-file.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Disk } from '../../ports/disk.ts'
import type { Prng } from '../../ports/prng.ts'
import type { Transport } from '../../ports/transport.ts'

/**
 * How a node's life uses its `PeerNetwork` (peer-network.ts):
 *
 *     const peers = new PeerNetwork(options)            // at once; `peers.handlers` go to the peers' port
 *     // the peers' port listens, and LevelDB's lock says that no other process has the directory
 *     const formed = await peers.formOrJoin(ownAddress) // node.json and raft/ are there when it resolves
 *     // openRaft, new RaftDriver({ campaignAtOnce: formed.campaignAtOnce, addressOf: m => peers.addressOf(m) })
 *     peers.attachQuorum(quorum)                        // from here on it joins, greets leaders, replaces voters
 *     peers.close()                                     // at any moment; ends `formOrJoin` with NODE_DRAINING
 */
export interface PeerNetworkOptions {
  readonly nodeId: NodeId
  readonly dataDirectory: string
  /** Of the metadata log; `data/raft`. */
  readonly raftDirectory: string
  /** The setting `cluster.peers`. Empty: a cluster of its own. */
  readonly peers: readonly string[]
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly transport: Transport
  readonly onEvent: (event: PeerEvent) => void
  /** After `formOrJoin`: this node has no place in the cluster that it finds. It must stop; trying again cannot help. */
  readonly onRefused: (error: NaruError) => void
  readonly timing?: Partial<PeerTiming>
}

export interface FormedNode {
  readonly identity: NodeIdentity
  /** This node has just made the cluster, so there is no leader to wait for (rule A2). */
  readonly campaignAtOnce: boolean
  /** The directory was fresh: it has got its identity now. */
  readonly isNew: boolean
}

/** For the log of the node. */
export interface PeerEvent {
  readonly level: 'info' | 'warn'
  readonly message: string
  readonly facts: Readonly<Record<string, string | number | readonly string[]>>
}

export interface PeerTiming {
  /** Between two rounds of greetings of a node without a cluster. */
  readonly roundMs: number
  /** One greeting or request to join, from the dial to the answer. */
  readonly callTimeoutMs: number
  /** Why a node still waits is said again after so long. */
  readonly repeatMs: number
  /** The author of a cluster waits so long at most for others who can vote for it. */
  readonly campaignWaitMs: number
  /** Between two looks at the quorum. */
  readonly tendMs: number
  /** Without a leader for so long, a node makes itself known again, and asks to join. */
  readonly leaderlessMs: number
  /** A member without a leader for so long asks for its place again: it may have lost it. */
  readonly lostMs: number
  /** A voter heard within this is in contact: only then may another one be replaced. */
  readonly contactMs: number
  /** A member that was not heard for so long may be replaced by the one that its node is now. */
  readonly silentMs: number
  /** A learner without a node is removed when it was not heard for so long. */
  readonly abandonedMs: number
}

export const PEER_TIMING: PeerTiming = {
  roundMs: 100,
  callTimeoutMs: 1000,
  repeatMs: 10_000,
  campaignWaitMs: 2000,
  tendMs: 200,
  leaderlessMs: 1000,
  lostMs: 5000,
  contactMs: 500,
  silentMs: 2000,
  abandonedMs: 30_000,
}
