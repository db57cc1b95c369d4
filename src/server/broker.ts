import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import { PeerNetwork } from '../drivers/raft/peer-network.ts'
import type { NodeIdentity } from '../log/node-file.ts'
import { DiskError } from '../ports/disk.ts'
import type { ServiceHandlers } from '../ports/transport.ts'
import type { BrokerAddresses, BrokerOptions } from './broker-options.ts'
import { ClusterPart } from './cluster-part.ts'
import { Faults } from './faults.ts'
import { HandlerGate } from './handler-gate.ts'
import { Life } from './life.ts'
import { failedStart, NodeStorage } from './node-storage.ts'
import { openQuorum } from './open-quorum.ts'

/**
 * A node without its sockets: data directory, quorum, partitions, and the handlers of its two ports. The simulator runs
 * this very class on its own ports.
 *
 * Life: the handlers are there at once, since a port must be open before others can be waited for. `start` resolves
 * when the node serves; until then a client's call is refused with NODE_STARTING, and from the start of `close` on with
 * NODE_DRAINING. `close` may come at any moment, also in the middle of `start`, which then fails.
 */
export class Broker {
  readonly #options: BrokerOptions
  readonly #faults: Faults
  readonly #life = new Life()
  readonly #clients: HandlerGate
  readonly #peers: HandlerGate
  #isServing = false
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #identity: NodeIdentity | undefined
  #quorum: ControllerDriver | undefined
  #part: ClusterPart | undefined

  constructor(options: BrokerOptions) {
    this.#options = options
    this.#faults = new Faults(options)
    this.#clients = new HandlerGate({ packageName: 'naru.v1', refusal: () => this.refusal })
    this.#peers = new HandlerGate({
      packageName: 'naru.internal.v1',
      // Peers are part of the start, and of the stop: each of their services is there as soon as it can be, and refuses
      // calls by itself when it is closed.
      refusal: isInstalled => this.failure ?? (isInstalled ? undefined : (this.#life.ended ?? starting())),
    })
  }

  /** Of the clients' port. */
  get handlers(): ServiceHandlers {
    return this.#clients.handlers
  }

  /** Of the peers' port. */
  get peerHandlers(): ServiceHandlers {
    return this.#peers.handlers
  }

  /** Whose data directory it is, once that is known. */
  get identity(): NodeIdentity | undefined {
    return this.#identity
  }

  /** The metadata, once they come. */
  get quorum(): MetadataQuorum | undefined {
    return this.#quorum
  }

  /** Only a restart can help. */
  get failure(): NaruError | undefined {
    return this.#faults.failure
  }

  /** Why calls are refused now; undefined: the node serves. */
  get refusal(): NaruError | undefined {
    return this.failure ?? this.#life.ended ?? (this.#isServing ? undefined : starting())
  }

  /** Whatever fails on the way is undone. */
  async start(addresses: BrokerAddresses): Promise<void> {
    assert(this.#starting === undefined, 'a broker starts once')
    this.#starting = this.#start(addresses)
    try {
      await this.#starting
    } catch (thrown) {
      await this.close()
      throw thrown instanceof DiskError ? failedStart(thrown) : thrown
    }
  }

  /** Before a stop: leaderships of this node go to other nodes, as far as those can take them. */
  async drain(): Promise<void> {
    if (this.#isServing && !this.refusal) await this.#part?.drain()
  }

  /** From now on new calls are refused; parked ones still get their answers. */
  startDraining(): void {
    this.#life.end(draining())
  }

  /** Orderly stop: everything appended is synced, and the next start needs no recovery. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.startDraining()
    await this.#starting?.catch(() => {})
    await this.#life.close()
  }

  async #start(addresses: BrokerAddresses): Promise<void> {
    const storage = await this.#life.open(NodeStorage.open(this.#options), opened => {
      const nodeEpoch = this.#part?.openedEpoch
      return opened.close(nodeEpoch === undefined ? {} : { nodeEpoch })
    })
    await this.#life.open(storage.reserve.start())
    const peers = this.#makePeers(storage)
    const { quorum, identity } = await this.#joinQuorum(storage, { peers, address: addresses.peer })
    const faults = this.#faults
    const part = new ClusterPart({ ...this.#options, storage, identity, addresses, peers, quorum, faults })
    this.#part = part
    this.#life.onClose(() => part.close(draining()))
    this.#peers.install(part.peerHandlers)
    await this.#life.awaitOthers(part.start())
    this.#clients.install(part.serve())
    this.#isServing = true
  }

  #makePeers({ nodeId, paths }: NodeStorage): PeerNetwork {
    const { settings, logger } = this.#options
    const peers = new PeerNetwork({
      ...this.#options,
      nodeId,
      dataDirectory: settings['data.dir'],
      raftDirectory: paths.raft,
      peers: settings['cluster.peers'],
      onEvent: ({ level, message, facts }) => logger[level](facts, message),
      onRefused: error => this.#faults.fail(error),
    })
    this.#life.onClose(() => peers.close())
    this.#peers.install(peers.handlers)
    return peers
  }

  /** Finds or makes the cluster, however long the others take; from then on the metadata come. */
  async #joinQuorum(
    storage: NodeStorage,
    { peers, address }: { peers: PeerNetwork; address: string },
  ): Promise<{ quorum: ControllerDriver; identity: NodeIdentity }> {
    const { identity, campaignAtOnce } = await this.#life.awaitOthers(peers.formOrJoin(address))
    this.#identity = identity
    const { paths, directory } = storage
    const opening = openQuorum({
      ...this.#options,
      registeredEpoch: () => storage.registeredEpoch,
      identity,
      campaignAtOnce,
      directory: paths.raft,
      resources: directory.resources,
      addressOf: member => peers.addressOf(member),
      faults: this.#faults,
    })
    const quorum = await this.#life.open(opening, opened => opened.close())
    this.#quorum = quorum
    this.#peers.install(quorum.handlers)
    peers.attachQuorum(quorum)
    return { quorum, identity }
  }
}

function starting(): NaruError {
  return new NaruError('NODE_STARTING', 'this node is starting: try again')
}

function draining(): NaruError {
  return new NaruError('NODE_DRAINING', 'this node is stopping: use another one, or try again')
}
