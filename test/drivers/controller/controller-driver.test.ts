import { expect, test } from 'vitest'
import { ControllerDriver } from '../../../src/drivers/controller/controller-driver.ts'
import { SingleVoterLog } from '../../../src/drivers/controller/single-voter-log.ts'
import { Controller } from '../../../src/metadata/controller.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { logResources } from '../../log/log-harness.ts'

const OPTIONS = { nodesListed: 1, defaultPartitions: 1 }

async function start(machine: SimMachine): Promise<ControllerDriver> {
  const { disk, clock } = machine
  await disk.makeDirectory('raft')
  await disk.syncDirectory('.')
  const driver = new ControllerDriver()
  const log = await SingleVoterLog.open({
    resources: logResources(disk, clock),
    directory: 'raft',
    clock,
    listener: driver,
    onEntry: entry => driver.load(entry),
    onEvent: () => {},
  })
  driver.lead(log)
  return driver
}

function form(driver: ControllerDriver, clusterId = 'cluster') {
  return driver.submit(newest => new Controller(newest, OPTIONS).formCluster(clusterId))
}

test('a change is answered once it is durable, and a power cut keeps it', async () => {
  const machine = new SimMachine(1)
  await machine.run(async () => form(await start(machine)))
  machine.powerCut()
  const driver = await machine.run(() => start(machine))
  expect(driver.image.clusterId).toBe('cluster')
  expect(await machine.run(() => form(driver, 'another'))).toEqual({ clusterId: 'cluster' })
})

test('an answer finds its effect in the committed image, and subscribers have seen it', async () => {
  const machine = new SimMachine(2)
  const driver = await machine.run(() => start(machine))
  const seen: (string | undefined)[] = []
  driver.subscribe((_delta, image) => seen.push(image.clusterId))
  const answered = machine.run(async () => {
    await form(driver)
    return [driver.image.clusterId, ...seen]
  })
  // Nothing is visible before the sync, although the handler ran.
  expect(driver.image.clusterId).toBeUndefined()
  expect(await answered).toEqual(['cluster', 'cluster'])
})

test('when the disk fails, waiting changes fail with an unknown outcome and later ones are refused', async () => {
  const machine = new SimMachine(3)
  const driver = await machine.run(() => start(machine))
  machine.image.syncErrorProbability = 1
  const failed = await machine.run(() => form(driver).catch(error => error))
  expect(failed).toMatchObject({ reason: 'STORAGE_OFFLINE' })
  const refused = await machine.run(() => form(driver).catch(error => error))
  expect(refused).toMatchObject({ reason: 'STORAGE_OFFLINE' })
  expect(driver.image.clusterId).toBeUndefined()
})

test('each process leads with a term of its own', async () => {
  const machine = new SimMachine(4)
  for (const round of [1, 2, 3]) {
    await machine.run(async () => {
      const driver = await start(machine)
      await driver.submit(() => ({
        records: [{ type: 'producerIds', version: 0, nodeId: 1, nextProducerId: round }],
        response: round,
      }))
      await driver.close()
    })
    machine.kill()
  }
  const { disk } = machine
  const content = await machine.run(async () => {
    const file = await disk.open('raft/leader-epoch-checkpoint', 'read')
    return (await file.read(0, file.sizeBytes)).toString()
  })
  expect(content).toBe('0\n3\n1 0\n2 1\n3 2\n')
})
