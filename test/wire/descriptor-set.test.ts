import { readFileSync } from 'node:fs'
import descriptor from 'protobufjs/ext/descriptor/index.js'
import { describe, expect, it } from 'vitest'
import { DescriptorSet } from '../../src/wire/descriptor-set.ts'
import { METHODS } from '../../src/wire/methods.ts'

/** Written by the build, which runs before the tests. */
const bytes = readFileSync(new URL('../../dist/proto/naru.binpb', import.meta.url))
const set = new DescriptorSet(bytes)

describe('the built descriptor set', () => {
  it('has every service that the node serves', () => {
    const services = new Set([...METHODS.keys()].map(path => path.split('/')[1]))
    expect(new Set(set.services)).toEqual(services)
  })

  it.each([
    ['naru.v1.Producer', 'naru/v1/producer.proto'],
    ['naru.v1.Producer.ProduceStream', 'naru/v1/producer.proto'],
    ['naru.v1.ProduceRequest', 'naru/v1/producer.proto'],
    ['naru.v1.ProduceRequest.topic_id', 'naru/v1/producer.proto'],
    ['naru.v1.NewTopic.SettingsEntry', 'naru/v1/admin_topics.proto'],
    ['naru.v1.Acks', 'naru/v1/producer.proto'],
    // Enum values belong to the scope around their enum.
    ['naru.v1.ACKS_ALL', 'naru/v1/producer.proto'],
    ['grpc.health.v1.HealthCheckResponse.SERVING', 'grpc/health/v1/health.proto'],
  ])('finds %s', (symbol, file) => {
    expect(
      set
        .fileBySymbol(symbol)
        ?.at(-1)
        ?.equals(set.fileByName(file)?.at(-1) as Buffer),
    ).toBe(true)
    expect(namesOf(set.fileBySymbol(symbol) as Buffer[]).at(-1)).toBe(file)
  })

  it('hands out imports before those that import them, each once', () => {
    expect(namesOf(set.fileByName('naru/v1/producer.proto') as Buffer[])).toEqual([
      'naru/v1/errors.proto',
      'naru/v1/records.proto',
      'naru/v1/producer.proto',
    ])
  })

  it('knows no others', () => {
    expect(set.fileByName('naru/v2/producer.proto')).toBeUndefined()
    expect(set.fileBySymbol('naru.v1.Acks.ACKS_ALL')).toBeUndefined()
    expect(set.fileBySymbol('constructor')).toBeUndefined()
  })

  it('keeps what proto-loader would lose: presence and comments', () => {
    const [file] = (set.fileByName('naru/v1/records.proto') as Buffer[]).slice(-1)
    expect(file?.includes('a tombstone, which deletes the key')).toBe(true)
    const proto = descriptor.FileDescriptorProto.decode(file as Buffer)
    const plain = descriptor.FileDescriptorProto.toObject(proto)
    const record = plain['messageType'].find((type: { name: string }) => type.name === 'Record')
    expect(record.field.find((field: { name: string }) => field.name === 'key').proto3Optional).toBe(true)
  })

  it('refuses a damaged file as such', () => {
    expect(() => new DescriptorSet(bytes.subarray(0, 5_000))).toThrowError(/malformed/)
  })
})

function namesOf(files: readonly Buffer[]): string[] {
  return files.map(
    file => descriptor.FileDescriptorProto.toObject(descriptor.FileDescriptorProto.decode(file))['name'],
  )
}
