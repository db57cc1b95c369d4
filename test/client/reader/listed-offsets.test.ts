import { expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { Connection } from '../../../src/client/connection.ts'
import { listedOffsets } from '../../../src/client/reader/listed-offsets.ts'
import type { ListOffsetsRequest } from '../../../src/wire/messages.ts'
import type { Consumer } from '../../../src/wire/methods.ts'
import { SdkHarness } from '../sdk-harness.ts'

it('asks for more places than one request may name', async () => {
  const sdk = await SdkHarness.start()
  await sdk.node.createTopic('logs', 1)
  const producer = sdk.client.producer()
  await sdk.run(producer.send({ topic: 'logs', value: 'a' }))
  const position = { at: 'LATEST' } as const
  const asked = Array.from({ length: 2_001 }, () => ({ topic: 'logs', partition: 0, position }))
  const counts: number[] = []
  const connection = {
    callNode: async (_: number, method: typeof Consumer.listOffsets, request: ListOffsetsRequest) => {
      counts.push(request.partitions.length)
      return method.response.decode(await sdk.node.send(method, request))
    },
  } as unknown as Connection
  const listed = await sdk.run(listedOffsets(connection, 1, asked))
  expect(listed).toHaveLength(2_001)
  expect(counts).toEqual([1_000, 1_000, 1])
  expect(new Set(listed.map(({ offset, failure }) => failure ?? offset))).toEqual(new Set([1]))
  await sdk.stop()
})

it('leaves a leader that hangs while it has time to ask the next one', async () => {
  const timeouts: unknown[] = []
  const connection = {
    callNode: (_: number, __: unknown, ___: unknown, options?: { timeoutMs?: number }) => {
      timeouts.push(options?.timeoutMs)
      return Promise.reject(new NaruError('DEADLINE_EXCEEDED', 'it hangs'))
    },
  } as unknown as Connection
  const listing = listedOffsets(connection, 1, [{ topic: 'logs', partition: 0 }])
  await expect(listing).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
  expect(timeouts).toEqual([expect.toSatisfy((ms: number) => ms <= 4_000)])
})
