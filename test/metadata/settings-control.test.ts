import { describe, expect, it } from 'vitest'
import type { TopicSettingsChange } from '../../src/metadata/settings-control.ts'
import { MetadataContext } from './metadata-context.ts'

describe('altering settings', () => {
  it('records what is new and what is removed, and nothing else', () => {
    const { context, alter } = withTopic({ 'retention.ms': '1000', 'segment.ms': '5000' })
    expect(
      alter({
        set: { 'retention.ms': '1000', 'retention.bytes': '77' },
        remove: ['segment.ms', 'write.caching'],
      }),
    ).toBe('ok')
    expect(context.log.at(-1)).toEqual({
      type: 'topicSettings',
      version: 0,
      topicId: 'topic-id-1',
      set: { 'retention.bytes': '77' },
      removed: ['segment.ms'],
    })
    expect(context.image.topics.byName('logs')?.settings).toEqual({
      'retention.ms': '1000',
      'retention.bytes': '77',
    })
    const length = context.log.length
    expect(alter({ set: { 'retention.bytes': '77' } })).toBe('ok')
    expect(context.log.length).toBe(length)
  })

  it.each([
    [{ set: { 'retention.ms': 'x' } }, 'INVALID_SETTING'],
    [{ set: { 'retention.ms': '5' }, remove: ['retention.ms'] }, 'INVALID_REQUEST'],
    [{ set: { 'retention.mss': '5' } }, 'UNKNOWN_SETTING'],
    [{ remove: ['retention.mss'] }, 'UNKNOWN_SETTING'],
    [{ set: { 'min.insync.replicas': '4', 'retention.ms': '5' } }, 'INVALID_SETTING'],
    [{ set: {}, topicId: 'another' }, 'UNKNOWN_TOPIC'],
    [{ name: '__groups', set: {} }, 'INVALID_REQUEST'],
  ])('refuses %j whole', (change, reason) => {
    const { context, alter } = withTopic({ 'retention.ms': '1000' })
    const length = context.log.length
    expect(alter(change)).toBe(reason)
    expect(context.log.length).toBe(length)
  })

  it('changes each topic for itself, none twice, and nothing when only validating', () => {
    const { context } = withTopic({})
    const set = { 'retention.ms': '5' }
    const changes = [
      { name: 'none', set },
      { name: 'logs', set },
      { name: 'logs', set: { 'retention.ms': '6' } },
    ]
    const dry = context.controller.settings.alter({ changes, validateOnly: true })
    expect(dry.records).toEqual([])
    const response = context.run(context.controller.settings.alter({ changes }))
    expect(response.map(result => (result.ok ? 'ok' : result.error.reason))).toEqual([
      'UNKNOWN_TOPIC',
      'ok',
      'INVALID_REQUEST',
    ])
    expect(context.image.topics.byName('logs')?.settings).toEqual(set)
  })

  it('empties the ELR together with lowering min.insync.replicas (C10)', () => {
    const { context, alter } = withTopic({ 'min.insync.replicas': '3' })
    context.run(context.controller.nodes.fence(context.epochOf(3)))
    expect(context.show('logs')).toBe('leader=1 isr=1,2 elr=3 epoch=0/1')
    const length = context.log.length
    expect(alter({ remove: ['min.insync.replicas'] })).toBe('ok')
    expect(context.log.slice(length).map(record => record.type)).toEqual([
      'topicSettings',
      'partitionChanged',
    ])
    expect(context.show('logs')).toBe('leader=1 isr=1,2 elr= epoch=0/2')
  })
})

function withTopic(settings: Record<string, string>) {
  const context = new MetadataContext().addNodes(3)
  context.create({ name: 'logs', assignments: [[1, 2, 3]], settings })
  const alter = (change: Partial<TopicSettingsChange>): string => {
    const changes = [{ name: 'logs', ...change }]
    const [result] = context.run(context.controller.settings.alter({ changes }))
    return result?.ok === false ? result.error.reason : 'ok'
  }
  return { context, alter }
}
