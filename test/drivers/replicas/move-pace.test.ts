import { describe, expect, test } from 'vitest'
import { ReplicaCluster } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

describe('a move with a throttle', () => {
  const SIZE = 200_000
  const values = Array.from({ length: SIZE / 1_000 }, (_, at) => `value ${at} ${'x'.repeat(1_000)}`)
  const whole = (cluster: ReplicaCluster) => () => cluster.controller.partition().isr.includes(3)

  async function startMove(throttleBytesPerSecond: number): Promise<ReplicaCluster> {
    const cluster = await ReplicaCluster.start({ logLimits: { tailBytesMax: 0 } })
    cluster.controller.createTopic({ replicas: [1, 2] })
    await cluster.until(() => cluster.node(1).replicas?.leader(TOPIC_ID, 0) !== undefined)
    for (const value of values) await produced(cluster, value)
    move(cluster, throttleBytesPerSecond)
    return cluster
  }

  async function produced(cluster: ReplicaCluster, value: string): Promise<void> {
    expect(await cluster.run(cluster.produce(cluster.leader(1), value))).toMatchObject({ kind: 'stored' })
  }

  function move(cluster: ReplicaCluster, throttleBytesPerSecond: number): void {
    const [original, target] = [
      [1, 2],
      [1, 2, 3],
    ]
    const reassignment = { original, target, throttleBytesPerSecond }
    cluster.controller.change(0, { ...cluster.controller.partition(), replicas: target, reassignment })
  }

  test('copies no faster than that, and holds nobody up who writes', async () => {
    const cluster = await startMove(50_000)
    const startMs = cluster.scheduler.nowMs
    await cluster.scheduler.runFor(1_000)
    const wroteMs = cluster.scheduler.nowMs
    await produced(cluster, 'meanwhile')
    expect(cluster.scheduler.nowMs - wroteMs).toBeLessThan(500)
    await cluster.until(whole(cluster))
    expect(cluster.scheduler.nowMs - startMs).toBeGreaterThan((SIZE / 50_000) * 800)
    expect(cluster.scheduler.nowMs - startMs).toBeLessThan((SIZE / 50_000) * 1_500)
    expect(await cluster.values(3)).toEqual([...values, 'meanwhile'])
  })

  test('goes on at once when it is given another one', async () => {
    const cluster = await startMove(1)
    await cluster.scheduler.runFor(5_000)
    expect(whole(cluster)()).toBe(false)
    move(cluster, 10_000_000)
    const startMs = cluster.scheduler.nowMs
    await cluster.until(whole(cluster))
    expect(cluster.scheduler.nowMs - startMs).toBeLessThan(2_000)
  })
})
