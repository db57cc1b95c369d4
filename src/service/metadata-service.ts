import type { TopicView } from '../metadata/topic-image.ts'
import type { MetadataGetRequest, MetadataGetResponse } from '../wire/messages.ts'
import { Metadata } from '../wire/methods.ts'
import { type HandlerEntry, telling, unary } from './handlers.ts'
import { MetadataFeed } from './metadata-feed.ts'
import { clusterFacts, nodeEndpoint, topicMetadata } from './metadata-views.ts'
import { MetadataWatch } from './metadata-watch.ts'
import { PAGE_SIZE_MAX, pageOf } from './pages.ts'
import { countWithin } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { doubtAbout } from './topic-lookup.ts'

/** naru.v1.Metadata */
export function metadataService(node: ServiceNode): HandlerEntry[] {
  const feed = new MetadataFeed(node)
  return [
    unary(Metadata.get, request => get(node, request)),
    telling(Metadata.watch, stream => {
      new MetadataWatch(feed, stream)
    }),
  ]
}

async function get(node: ServiceNode, request: MetadataGetRequest): Promise<MetadataGetResponse> {
  const { image } = node.controller
  countWithin(request.topics.length, { name: 'topics', max: PAGE_SIZE_MAX })
  const isPage = request.topics.length === 0
  const page = isPage
    ? pageOf(image.topics.names(), name => name, request)
    : { items: request.topics, nextPageToken: '' }
  const doubt = await doubtAbout(node, page.items)
  const topics: TopicView[] = []
  const unknownTopics: string[] = []
  for (const name of new Set(page.items)) {
    const topic = image.topics.byName(name)
    if (topic !== undefined) topics.push(topic)
    else if (doubt === undefined) unknownTopics.push(name)
  }
  return {
    ...clusterFacts(node),
    nodes: image.nodes.all().map(nodeEndpoint),
    topics: topics.map(topic => topicMetadata(node, topic)),
    unknownTopics,
    nextPageToken: page.nextPageToken,
  }
}
