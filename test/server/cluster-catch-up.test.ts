import { expect, test } from 'vitest'
import { Admin } from '../../src/wire/methods.ts'
import { brokerOf, type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'

const CHANGES = 10_000
const AT_ONCE = 100

/** Of these changes one is left, the last of each topic, which is what a snapshot is for. */
async function changeOften(cluster: SimBrokerCluster, through: ClusterNode): Promise<void> {
  const node = brokerOf(through)
  for (let made = 0; made < CHANGES; made += AT_ONCE) {
    const changes = Array.from({ length: AT_ONCE }, (_, i) => ({
      topic: `topic-${i % 4}`,
      set: { 'retention.ms': String(1_000_000 + made + i) },
    }))
    const answers = await cluster.run(
      Promise.all(changes.map(change => node.call(Admin.alterConfigs, { changes: [change] }))),
    )
    expect(answers.flatMap(({ results }) => results.filter(({ failure }) => failure))).toEqual([])
  }
}

test('a node that missed ten thousand changes returns by a snapshot and what came after it', async () => {
  const brokerOptions = () => ({ raftLimits: { snapshotAfterEntries: 3_000, keptEntries: 300 } })
  const cluster = await SimBrokerCluster.start({ seed: 11, nodes: 3, brokerOptions })
  const [first, , third] = cluster.members as [ClusterNode, ClusterNode, ClusterNode]
  for (let i = 0; i < 4; i++) await cluster.run(brokerOf(first).createTopic(`topic-${i}`))
  cluster.powerCut(third)
  await changeOften(cluster, first)
  const status = brokerOf(first).quorum?.status
  expect(status?.commitIndex).toBeGreaterThan(CHANGES)
  expect(status?.logStart.index).toBeGreaterThan(CHANGES / 2)

  cluster.boot(third)
  await cluster.serving(third)
  const back = brokerOf(third)
  expect(back.quorum?.status.logStart.index).toBeGreaterThan(CHANGES / 2)
  for (let i = 0; i < 4; i++) {
    const settings = (member: ClusterNode) => brokerOf(member).image.topics.byName(`topic-${i}`)?.settings
    expect(settings(third)?.['retention.ms']).toBe(String(1_000_000 + CHANGES - 4 + i))
    expect(settings(third)).toEqual(settings(first))
  }
  await cluster.run(back.createTopic('after'))
}, 120_000)
