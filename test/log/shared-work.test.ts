import { expect, test } from 'vitest'
import { SharedWork } from '../../src/log/shared-work.ts'

test('calls that wait share one run, which begins after them, and a failed run stops nobody else', async () => {
  const runs: { settle: () => void; fail: (error: Error) => void }[] = []
  const work = new SharedWork(
    () => new Promise<void>((settle, fail) => runs.push({ settle: () => settle(), fail })),
  )
  const turn = () => new Promise(resolve => setImmediate(resolve))
  const first = work.run()
  await turn()
  const [second, third] = [work.run(), work.run()]
  await turn()
  expect(runs).toHaveLength(1)
  runs[0]?.fail(new Error('no'))
  await expect(first).rejects.toThrow('no')
  await turn()
  expect(runs).toHaveLength(2)
  const fourth = work.run()
  runs[1]?.settle()
  await Promise.all([second, third])
  await turn()
  runs[2]?.settle()
  await fourth
  expect(runs).toHaveLength(3)
})
