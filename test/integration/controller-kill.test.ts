import { expect, test } from 'vitest'
import { connect } from '../../src/server/client.ts'
import { killController } from '../harness/controller-kills.ts'
import { NodeCluster } from '../harness/node-cluster.ts'
import { TopicChanges } from '../harness/topic-changes.ts'

const KILLS = 3
const WORKERS = 4

test(`${KILLS} kills of the controller under changes of topics: each acknowledged one is there, none twice`, async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const changes = new TopicChanges(admin)
  changes.start(WORKERS)
  for (let kill = 0; kill < KILLS; kill++) await killController(cluster, changes, admin)
  await changes.stop()
  for (const address of cluster.addresses) {
    await using one = await connect(address)
    expect(await changes.check(one.admin()), address).toEqual([])
  }
  expect(changes.summary.acknowledged).toBeGreaterThan(KILLS * 20)
}, 180_000)
