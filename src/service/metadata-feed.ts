import type { MetadataDelta } from '../metadata/metadata-delta.ts'
import type { Timer } from '../ports/clock.ts'
import { CLIENT_FRAME_BYTES_DEFAULT } from '../wire/limits.ts'
import type { MessageInit, MetadataWatchResponse, TopicMetadata } from '../wire/messages.ts'
import { Metadata } from '../wire/methods.ts'
import { clusterFacts, nodeEndpoint, topicMetadata } from './metadata-views.ts'
import type { ServiceNode } from './service-node.ts'

/** Watchers are told so after this long without a change. */
const HEARTBEAT_MS = 500
/** Bytes of a partition in TopicMetadata, and of the rest of one without its name. */
const PARTITION_BYTES = 24
const TOPIC_BYTES = 64

/** Gets encoded frames in order; what the picture was before comes from `pictureFrames`. */
export interface MetadataWatcher {
  onFrame(frame: Buffer): void
}

/**
 * The metadata as frames of Watch. A change is encoded once, however many watch, and not at all if nobody does;
 * so are the topics of the whole picture, which are kept until the next change. A new controller changes no metadata:
 * it is told with the next frame, a heartbeat if nothing else.
 */
export class MetadataFeed {
  readonly #node: ServiceNode
  readonly #watchers = new Set<MetadataWatcher>()
  #topics: { readonly metadataIndex: number; readonly frames: readonly Buffer[] } | undefined
  #unsubscribe: (() => void) | undefined
  #timer: Timer | undefined
  #lastFrameMs = 0

  constructor(node: ServiceNode) {
    this.#node = node
  }

  /** The watcher gets all changes after the picture that is returned. Returns also how to stop. */
  add(watcher: MetadataWatcher): { picture: readonly Buffer[]; remove: () => void } {
    const picture = this.#pictureFrames()
    this.#watchers.add(watcher)
    if (this.#watchers.size === 1) this.#start()
    return {
      picture,
      remove: () => {
        if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.#stop()
      },
    }
  }

  #start(): void {
    this.#unsubscribe = this.#node.controller.subscribe(delta => this.#onDelta(delta))
    this.#lastFrameMs = this.#node.clock.monotonicMs()
    this.#arm(HEARTBEAT_MS)
  }

  #stop(): void {
    this.#unsubscribe?.()
    this.#timer?.cancel()
    this.#topics = undefined
  }

  #arm(delayMs: number): void {
    this.#timer = this.#node.clock.setTimer(delayMs, () => {
      const idleMs = this.#node.clock.monotonicMs() - this.#lastFrameMs
      const isDue = idleMs >= HEARTBEAT_MS - 1
      if (isDue) this.#send({})
      if (this.#watchers.size > 0) this.#arm(isDue ? HEARTBEAT_MS : HEARTBEAT_MS - idleMs)
    })
  }

  #onDelta(delta: MetadataDelta): void {
    const { nodes, topics } = this.#node.controller.image
    const changedTopics = new Set([
      ...delta.createdTopics,
      ...delta.changedPartitions.keys(),
      ...delta.changedSettings,
    ])
    const changedNodes = [...delta.changedNodes]
    const changed = [...changedTopics].map(topicId => topics.byId(topicId)).filter(isDefined)
    this.#send({
      nodes: changedNodes
        .map(nodeId => nodes.get(nodeId))
        .filter(isDefined)
        .map(nodeEndpoint),
      removedNodeIds: changedNodes.filter(nodeId => nodes.get(nodeId) === undefined),
      topics: changed.map(topic => topicMetadata(this.#node, topic)),
      deletedTopics: [...delta.deletedTopics.values()].map(({ name, id }) => ({ topic: name, topicId: id })),
    })
  }

  #send(change: MessageInit<MetadataWatchResponse>): void {
    const frame = this.#encode({ ...change, complete: true })
    this.#lastFrameMs = this.#node.clock.monotonicMs()
    for (const watcher of [...this.#watchers]) watcher.onFrame(frame)
  }

  #pictureFrames(): readonly Buffer[] {
    const { image } = this.#node.controller
    if (this.#topics?.metadataIndex !== image.appliedEndIndex)
      this.#topics = { metadataIndex: image.appliedEndIndex, frames: this.#topicFrames() }
    const nodes = image.nodes.all().map(nodeEndpoint)
    return [...this.#topics.frames, this.#encode({ nodes, complete: true })]
  }

  #topicFrames(): Buffer[] {
    const { image } = this.#node.controller
    const frames: Buffer[] = []
    let topics: TopicMetadata[] = []
    let bytes = 0
    for (const topic of image.topics.all()) {
      const topicBytes = TOPIC_BYTES + topic.name.length + topic.partitionCount * PARTITION_BYTES
      if (bytes + topicBytes > CLIENT_FRAME_BYTES_DEFAULT && topics.length > 0) {
        frames.push(this.#encode({ topics }))
        topics = []
        bytes = 0
      }
      topics.push(topicMetadata(this.#node, topic))
      bytes += topicBytes
    }
    if (topics.length > 0) frames.push(this.#encode({ topics }))
    return frames
  }

  #encode(frame: MessageInit<MetadataWatchResponse>): Buffer {
    return Metadata.watch.response.encode({ ...clusterFacts(this.#node), ...frame })
  }
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}
