import { describe, expect, it } from 'vitest'
import {
  checkTopicSettings,
  defaultSetting,
  normalizeSetting,
  resolveTopicSettings,
  TOPIC_SETTING_KEYS,
  TOPIC_SETTINGS,
} from '../../src/metadata/topic-settings.ts'
import { errorOf } from './metadata-context.ts'

describe('topic settings', () => {
  it.each([...TOPIC_SETTING_KEYS])('%s takes its own default, written as text', key => {
    expect(normalizeSetting(key, String(TOPIC_SETTINGS[key].default))).toBe(
      String(TOPIC_SETTINGS[key].default),
    )
    expect(TOPIC_SETTINGS[key].doc).toMatch(/\.$/)
  })

  it.each([
    ['retention.ms', '-1', '-1'],
    ['segment.bytes', ' 1048576 ', '1048576'],
    ['write.caching', 'TRUE', 'true'],
    ['message.timestamp.type', 'LogAppendTime', 'LogAppendTime'],
  ])('%s=%s is %s', (key, text, value) => {
    expect(normalizeSetting(key, text)).toBe(value)
  })

  it.each([
    ['retention.ms', '-2', 'INVALID_SETTING: retention.ms=-2: at least -1 is needed'],
    ['retention.ms', '', 'INVALID_SETTING: retention.ms=: a whole number is needed'],
    ['retention.ms', '1e3', 'INVALID_SETTING: retention.ms=1e3: a whole number is needed'],
    [
      'retention.ms',
      '9999999999999999',
      'INVALID_SETTING: retention.ms=9999999999999999: a whole number is needed',
    ],
    [
      'max.message.bytes',
      '8388609',
      'INVALID_SETTING: max.message.bytes=8388609: at most 8388608 is allowed',
    ],
    ['segment.bytes', '1048575', 'INVALID_SETTING: segment.bytes=1048575: at least 1048576 is needed'],
    ['write.caching', 'yes', 'INVALID_SETTING: write.caching=yes: true or false is needed'],
    [
      'cleanup.policy',
      'delet',
      'INVALID_SETTING: cleanup.policy=delet: delete or compact (or both) is needed (did you mean "delete"?)',
    ],
    [
      'cleanup.policy',
      'compact,constructor',
      'INVALID_SETTING: cleanup.policy=compact,constructor: delete or compact (or both) is needed',
    ],
    [
      'min.cleanable.dirty.ratio',
      '1.1',
      'INVALID_SETTING: min.cleanable.dirty.ratio=1.1: a number from 0 to 1 is needed',
    ],
    [
      'compression.type',
      'zstd',
      'NOT_IMPLEMENTED: compression.type=zstd: nodes store batches as the producer compressed them; set the compression of the producer instead',
    ],
    ['min.isr', '1', 'UNKNOWN_SETTING: topics have no setting "min.isr"'],
    ['__proto__', '1', 'UNKNOWN_SETTING: topics have no setting "__proto__"'],
    [
      'retention_ms',
      '1',
      'UNKNOWN_SETTING: topics have no setting "retention_ms" (did you mean "retention.ms"?)',
    ],
  ])('refuses %s=%s', (key, text, error) => {
    expect(errorOf(() => normalizeSetting(key, text))).toBe(error)
  })

  it('resolve from the topic, then the node, then the table', () => {
    const settings = resolveTopicSettings(
      { 'retention.ms': '1000' },
      { replicationFactor: 3, defaults: { 'retention.ms': 5, 'segment.ms': 60_000 } },
    )
    expect(settings['retention.ms']).toBe(1000)
    expect(settings['segment.ms']).toBe(60_000)
    expect(settings['segment.bytes']).toBe(256 * 1024 * 1024)
    expect(settings['max.message.bytes']).toBe(1024 * 1024)
    expect(settings['write.caching']).toBe(false)
  })

  it('pass over what a newer release set', () => {
    const settings = resolveTopicSettings({ 'of.the.future': '1' }, { replicationFactor: 1 })
    expect(Object.keys(settings)).toEqual([...TOPIC_SETTING_KEYS])
  })

  it('want two replicas in sync of three or more, and one of fewer', () => {
    const minInsync = (replicationFactor: number, configured?: number) =>
      defaultSetting('min.insync.replicas', {
        replicationFactor,
        ...(configured === undefined ? {} : { defaults: { 'min.insync.replicas': configured } }),
      })
    expect([1, 2, 3, 5].map(count => minInsync(count))).toEqual([1, 1, 2, 2])
    // A default of the node never makes a topic unwritable.
    expect([1, 2, 3, 5].map(count => minInsync(count, 3))).toEqual([1, 2, 3, 3])
  })

  it('refuse what does not fit together', () => {
    const resolve = (overrides: Record<string, string>) =>
      resolveTopicSettings(overrides, { replicationFactor: 3 })
    expect(errorOf(() => checkTopicSettings(resolve({ 'min.insync.replicas': '4' }), 3))).toMatch(
      /^INVALID_SETTING/,
    )
    expect(
      errorOf(() =>
        checkTopicSettings(resolve({ 'segment.bytes': '1048576', 'max.message.bytes': '1048577' }), 3),
      ),
    ).toBe(
      'INVALID_SETTING: a batch of max.message.bytes=1048577 would not fit into a segment of segment.bytes=1048576',
    )
    expect(errorOf(() => checkTopicSettings(resolve({}), 3))).toBe('no error')
  })
})
