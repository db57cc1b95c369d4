import { expect, test } from 'vitest'
import { SimBroker } from '../../harness/sim-broker.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { commit, committed, makeLogs } from './group-calls.ts'

test('a node alone has its groups again after a restart', async () => {
  const machine = new SimMachine(1)
  const { scheduler } = machine
  const node = await scheduler.finish(SimBroker.start(machine))
  await scheduler.finish(makeLogs(node))
  await scheduler.finish(commit(node, 'readers', { 0: 5, 1: 7 }))
  expect(await scheduler.finish(committed(node, 'readers'))).toEqual({ 0: 5, 1: 7 })
  machine.powerCut()
  const again = await scheduler.finish(SimBroker.start(machine))
  expect(await scheduler.finish(committed(again, 'readers'))).toEqual({ 0: 5, 1: 7 })
})
