import { describe, expect, it } from 'vitest'
import { errorOf, GroupContext } from './group-context.ts'

function withTopic(partitionCount = 4, options: ConstructorParameters<typeof GroupContext>[0] = {}) {
  const context = new GroupContext(options)
  context.catalog.put('logs', partitionCount)
  return context
}

const logs = { topics: ['logs'] }
const has = (context: GroupContext, member: string) => [...context.stream('g', member).believes.keys()].sort()

describe('a member', () => {
  it('has everything while it is alone, and shares with who joins', () => {
    const context = withTopic()
    context.attend('g', 'a', logs)
    expect(has(context, 'a')).toEqual(['logs/0', 'logs/1', 'logs/2', 'logs/3'])
    context.attend('g', 'b', logs)
    context.advance(200)
    expect([has(context, 'a').length, has(context, 'b').length]).toEqual([2, 2])
    expect(context.image.get('g')?.state).toBe('stable')
  })

  it('shares under a coordinator whose clock is an hour behind that of the last one', () => {
    const context = withTopic()
    context.attend('g', 'a', logs)
    context.nowMs -= 3_600_000
    context.moveCoordinator()
    context.attend('g', 'a', logs)
    context.attend('g', 'b', logs)
    context.advance(200)
    expect([has(context, 'a').length, has(context, 'b').length]).toEqual([2, 2])
  })

  it('is given a partition only after its owner released it', () => {
    const context = withTopic()
    context.attend('g', 'a', { ...logs, isSlow: true })
    context.attend('g', 'b', logs)
    context.advance(200)
    expect(has(context, 'b')).toEqual([])
    expect(context.image.get('g')?.state).toBe('reconciling')
    context.stream('g', 'a').release()
    context.commit()
    expect(has(context, 'b').length).toBe(2)
    expect(context.image.get('g')?.state).toBe('stable')
  })

  it('loses an unreleased partition after 60 s, and stays a member', () => {
    const context = withTopic()
    context.attend('g', 'a', { ...logs, isSlow: true })
    context.attend('g', 'b', logs)
    context.advance(60_000)
    expect(has(context, 'b')).toEqual([])
    context.advance(1_000)
    expect(has(context, 'b').length).toBe(2)
    expect(has(context, 'a').length).toBe(2)
    expect(context.stream('g', 'a').isConnected).toBe(true)
  })

  it('is expelled 3 s after its stream broke', () => {
    const context = withTopic()
    context.attend('g', 'a', logs)
    context.attend('g', 'b', logs)
    context.advance(200)
    context.stream('g', 'a').break()
    context.advance(2_900)
    expect(has(context, 'b').length).toBe(2)
    context.advance(200)
    expect(has(context, 'b').length).toBe(4)
  })

  it('is expelled when it was not heard for 10 s', () => {
    const context = withTopic()
    const stream = context.attend('g', 'a', logs)
    context.advance(60_000)
    expect(stream.isConnected).toBe(true)
    stream.isSilent = true
    context.advance(9_900)
    expect(context.image.get('g')?.members.size).toBe(1)
    context.advance(200)
    expect(stream.endedBy?.reason).toBe('UNKNOWN_MEMBER')
    expect(context.image.get('g')?.state).toBe('empty')
  })

  it('that chose a session timeout may be away for that long', () => {
    const context = withTopic()
    const stream = context.attend('g', 'a', { ...logs, sessionTimeoutMs: 30_000 })
    stream.break()
    context.advance(29_900)
    expect(context.image.get('g')?.members.size).toBe(1)
    context.advance(200)
    expect(context.image.get('g')?.members.size).toBe(0)
  })

  it('that comes back in time keeps its partitions, others notice nothing, and its old stream is fenced', () => {
    const context = withTopic()
    const old = context.attend('g', 'a', logs)
    context.attend('g', 'b', logs)
    context.advance(200)
    const before = has(context, 'a')
    context.told.length = 0
    context.attend('g', 'a', logs)
    context.advance(200)
    expect(has(context, 'a')).toEqual(before)
    expect(old.endedBy?.reason).toBe('MEMBER_FENCED')
    expect(context.told.filter(line => line.startsWith('g/b'))).toEqual([])
  })

  it('that is in excess is idle, and takes over', () => {
    const context = withTopic(1)
    context.attend('g', 'a', logs)
    context.attend('g', 'b', logs)
    context.advance(200)
    expect(has(context, 'b')).toEqual([])
    context.stream('g', 'a').leave()
    context.advance(200)
    expect(has(context, 'b')).toEqual(['logs/0'])
  })

  it('that attends in vain leaves the session of the stream before it running', () => {
    const context = withTopic()
    const old = context.attend('g', 'a', logs)
    context.commitsAtOnce = false
    // The append fails after the timers of the handler were set.
    const { members } = context.coordinator
    const instance = context.newInstance()
    const request = { group: 'g', member: 'a', topics: ['logs'], clientId: '', address: '', instance }
    const failing = () => {
      const result = members.attend(request, context.nowMs)
      return { ...result, records: [...result.records, { type: 'group', version: 9 } as never] }
    }
    expect(errorOf(() => context.write(failing, () => {}))).toContain('version 9')
    context.commitsAtOnce = true
    old.isSilent = true
    context.advance(30_000)
    expect(context.image.get('g')?.members.size).toBe(0)
  })
})

describe('what a member asks for', () => {
  const attend = (more: object) => {
    const context = withTopic()
    const instance = context.newInstance()
    return errorOf(() =>
      context.run(() =>
        context.coordinator.members.attend(
          { group: 'g', member: 'm', topics: ['logs'], clientId: '', address: '', instance, ...more },
          context.nowMs,
        ),
      ),
    )
  }

  it.each([
    [{ group: '' }, 'INVALID_REQUEST: the name "" of a group is empty'],
    [{ member: 'x'.repeat(256) }, 'has 256 characters, at most 255'],
    [{ member: 'a\nb' }, 'control character'],
    [{ topics: [] }, 'subscribes to nothing'],
    [{ topics: ['a b'] }, 'INVALID_TOPIC_NAME: "a b" cannot'],
    [{ topicPattern: '(' }, 'topic_pattern "(" is not'],
    [{ topics: Array.from({ length: 1001 }, (_, i) => `t${i}`) }, '1001 topics are too many'],
    [{ assignor: 'sticky' }, 'assignor "sticky" does not exist (use uniform or range)'],
    [{ sessionTimeoutMs: 10 }, 'session_timeout_ms 10 is not a whole number of 1000 to 1800000'],
  ])('is checked: %j', (more, message) => {
    expect(attend(more)).toContain(message)
  })

  it('finds the group full', () => {
    const context = withTopic(4, { limits: { membersPerGroupMax: 1, groupsMax: 1, patternsPerGroupMax: 1 } })
    context.attend('g', 'a', { topicPattern: 'l*' })
    const refused = (group: string, member: string) =>
      context.attend(group, member, { topicPattern: '*' }).endedBy
    expect(refused('g', 'b')?.message).toContain('1 members already')
    expect(refused('h', 'b')?.message).toContain('1 groups already')
  })

  it('decides the assignor only in an empty group', () => {
    const context = withTopic()
    context.attend('g', 'a', { ...logs, assignor: 'range' })
    context.attend('g', 'b', { ...logs, assignor: 'uniform' })
    expect(context.told.join('\n')).toContain('uses the assignor range, not uniform')
    expect(context.image.get('g')?.header?.assignor).toBe('range')
  })
})

describe('the topics of a group', () => {
  it('are picked up when they are made, and when they grow', () => {
    const context = withTopic(1)
    context.attend('g', 'a', { topicPattern: '*lo*' })
    context.catalog.put('logins', 2)
    context.catalog.put('__lo', 2)
    context.refresh(['logins', '__lo'])
    context.catalog.put('logs', 2)
    context.refresh(['logs'])
    context.advance(200)
    expect(has(context, 'a')).toEqual(['logins/0', 'logins/1', 'logs/0', 'logs/1'])
  })

  it('start at 0 where they were made or grew later, wherever the member starts', () => {
    const context = withTopic(1)
    context.attend('g', 'a', { topics: ['logs', 'later'], start: () => 77 })
    context.catalog.put('later', 1)
    context.catalog.put('logs', 2)
    context.refresh(['later', 'logs'])
    context.advance(200)
    const starts = [...context.stream('g', 'a').believes.values()].map(p => [
      p.topic,
      p.partition,
      p.nextOffset,
    ])
    expect(starts.sort()).toEqual([
      ['later', 0, 0],
      ['logs', 0, 77],
      ['logs', 1, 0],
    ])
  })

  it('start at 0 where they were made before a further member joined', () => {
    const context = withTopic(1)
    context.attend('g', 'a', { topics: ['later'], start: () => 77 })
    context.catalog.put('later', 1)
    context.attend('g', 'b', { topics: ['later', 'logs'], start: () => 77 })
    context.advance(200)
    expect(context.image.get('g')?.offset(context.catalog.everSeen('later').id, 0)?.nextOffset).toBe(0)
  })

  it('are dropped with their offsets when they are deleted, and are new when they are made anew', () => {
    const context = withTopic(2)
    context.attend('g', 'a', { ...logs, isSlow: true })
    const { id } = context.catalog.everSeen('logs')
    context.catalog.delete('logs')
    context.refresh(['logs'])
    expect(has(context, 'a')).toEqual([])
    expect(context.image.get('g')?.offsetTopics.has(id)).toBe(false)
    context.advance(200)
    context.catalog.put('logs', 1)
    context.refresh(['logs'])
    context.advance(200)
    expect(has(context, 'a')).toEqual(['logs/0'])
  })

  it.each(['a member joins', 'a member is gone', 'a partition is released'])(
    'are told as lost before those of the same name that are made anew, also if %s before the group looks at them',
    event => {
      const context = withTopic(3)
      context.attend('g', 'a', { ...logs, isSlow: true })
      const joins = () => context.attend('g', 'b', logs)
      if (event !== 'a member joins') joins()
      // What is released goes out at once: the next target is not due yet.
      context.advance(
        event === 'a partition is released' ? context.coordinator.settings.assignmentIntervalMs : 200,
      )
      const before = context.told.length
      context.catalog.delete('logs')
      context.catalog.put('logs', 3)
      if (event === 'a member joins') joins()
      else if (event === 'a partition is released') context.stream('g', 'a').release()
      else context.stream('g', 'b').leave()
      context.commit()
      context.advance(200)
      context.refresh(['logs'])
      const { id } = context.catalog.everSeen('logs')
      const members = event === 'a member is gone' ? ['a'] : ['a', 'b']
      const owned = members.flatMap(name => [...context.stream('g', name).believes.values()])
      expect(owned.map(({ topicId, partition }) => `${topicId}/${partition}`).sort()).toEqual(
        [0, 1, 2].map(partition => `${id}/${partition}`),
      )
      // Nobody is asked for what is gone, nor for what has just been told.
      expect(context.told.slice(before).filter(line => line.includes('revoking'))).toEqual([])
    },
  )

  it('may be changed by a member', () => {
    const context = withTopic(2)
    context.catalog.put('other', 1)
    const { stream } = context.attend('g', 'a', logs)
    if (stream === undefined) throw new Error('not attended')
    context.run(() => context.coordinator.members.subscribe(stream, { topics: ['other'] }, context.nowMs))
    context.advance(200)
    expect(has(context, 'a')).toEqual(['other/0'])
  })
})

it('a thousand members that join at once are few targets', () => {
  const context = withTopic(100)
  for (let member = 0; member < 300; member++) {
    context.attend('g', `m${member}`, logs)
    if (member % 30 === 0) context.advance(10)
  }
  context.advance(200)
  const targets = new Set(
    context.log.flat().flatMap(r => (r.type === 'group' && r.value !== null ? [r.value.targetEpoch] : [])),
  )
  expect(targets.size).toBeLessThan(6)
  expect(context.image.get('g')?.state).toBe('stable')
})
