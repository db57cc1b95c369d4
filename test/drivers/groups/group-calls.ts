import { failureToError } from '../../../src/wire/failure.ts'
import { Groups } from '../../../src/wire/methods.ts'
import type { SimBroker } from '../../harness/sim-broker.ts'

/** Commits by hand, for a group without members: partition -> next offset. */
export async function commit(
  node: SimBroker,
  group: string,
  offsets: Readonly<Record<number, number>>,
  topic = 'logs',
): Promise<void> {
  const { results } = await node.call(Groups.commitOffsets, {
    group,
    offsets: Object.entries(offsets).map(([partition, nextOffset]) => ({
      topic,
      partition: Number(partition),
      nextOffset,
    })),
  })
  for (const { failure } of results) if (failure) throw failureToError(failure)
}

/** What is committed for a group. */
export async function committed(node: SimBroker, group: string): Promise<Record<number, number>> {
  const { offsets } = await node.call(Groups.fetchOffsets, { group })
  const found = offsets.filter(({ nextOffset }) => nextOffset !== undefined)
  return Object.fromEntries(found.map(({ partition, nextOffset }) => [partition, nextOffset as number]))
}

/** A topic of four partitions with ten records each. */
export async function makeLogs(node: SimBroker, topic = 'logs'): Promise<void> {
  await node.createTopic(topic, {}, 4)
  const values = Array.from({ length: 10 }, (_, index) => `value ${index}`)
  for (let partition = 0; partition < 4; partition++) await node.produce({ topic, partition }, values)
}
