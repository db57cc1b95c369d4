import { expect, test } from 'vitest'
import { GroupChaos } from './group-chaos.ts'

test.each([1, 2])('no commit that was answered is lost or read back older, seed %i', async seed => {
  const chaos = new GroupChaos(seed)
  await chaos.run(200)
  expect(chaos.answeredCommits).toBeGreaterThan(20)
  expect(chaos.answeredReads).toBeGreaterThan(20)
})
