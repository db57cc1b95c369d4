import { describe, expect, it } from 'vitest'
import type { IsrChange, IsrMember, NodeContact } from '../../src/metadata/isr-control.ts'
import { errorOf, MetadataContext } from './metadata-context.ts'

/** Topic "t" with one partition on nodes 1 (leads), 2 and 3, of 4. */
function cluster(settings: Record<string, string> = {}): MetadataContext {
  const context = new MetadataContext({ nodesListed: 4 }).addNodes(4)
  context.create({ name: 't', assignments: [[1, 2, 3]], settings })
  return context
}

function change(context: MetadataContext, isr: (number | IsrMember)[], more: Partial<IsrChange> = {}) {
  const topic = context.image.topics.byName('t')
  const state = topic?.partition(0)
  if (!topic || !state) throw new Error('no topic')
  const { leaderEpoch, partitionEpoch } = state
  const members = isr.map(one => (typeof one === 'number' ? context.epochOf(one) : one))
  return { topicId: topic.id, partition: 0, leaderEpoch, partitionEpoch, isr: members, ...more }
}

/** The answer to one change by this node, in words. */
function alter(context: MetadataContext, sender: number, wish: IsrChange, contact?: NodeContact): string {
  const { answers } = context.run(context.controller.isr.alter(context.epochOf(sender), [wish], contact))
  const [answer] = answers
  return answer?.kind === 'refused' ? `refused at ${answer.partitionEpoch}: ${answer.problem}` : 'accepted'
}

const everybody: NodeContact = { isInContact: () => true, mayElect: () => true }

describe('a change of the ISR', () => {
  it('is made by the leader, and raises the partition epoch only', () => {
    const context = cluster()
    expect(alter(context, 1, change(context, [1, 2]))).toBe('accepted')
    expect(context.show('t')).toBe('leader=1 isr=1,2 elr= epoch=0/1')
    expect(alter(context, 1, change(context, [1, 2, 3]))).toBe('accepted')
    expect(context.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/2')
  })

  it('keeps who leaves below the minimum electable, and nobody once it is reached', () => {
    const context = cluster()
    alter(context, 1, change(context, [1, 2]))
    expect(alter(context, 1, change(context, [1]))).toBe('accepted')
    expect(context.show('t')).toBe('leader=1 isr=1 elr=2 epoch=0/2')
    expect(alter(context, 1, change(context, [1, 3]))).toBe('accepted')
    expect(context.show('t')).toBe('leader=1 isr=1,3 elr= epoch=0/3')
  })

  it('makes nobody electable that has lost what it acknowledged', () => {
    const context = cluster()
    alter(context, 1, change(context, [1], { damaged: [3] }))
    expect(context.show('t')).toBe('leader=1 isr=1 elr=2 epoch=0/1')
  })

  it('is refused from anybody but the leader, and of any other state', () => {
    const context = cluster()
    expect(alter(context, 2, change(context, [2, 3]))).toBe('refused at 0: node 1 leads')
    const stale = change(context, [1, 2])
    alter(context, 1, change(context, [1, 3]))
    expect(alter(context, 1, stale)).toBe('refused at 1: the partition epoch is 1')
    expect(alter(context, 1, change(context, [1, 2, 3], { leaderEpoch: 7 }))).toBe(
      'refused at 1: the leader epoch is 0',
    )
    expect(context.show('t')).toBe('leader=1 isr=1,3 elr= epoch=0/1')
  })

  it('is refused from a process that was replaced', () => {
    const context = cluster()
    const wish = change(context, [1, 2])
    const before = context.epochOf(1)
    context.register(1, { incarnation: 'another' })
    expect(errorOf(() => context.controller.isr.alter(before, [wish]))).toMatch('STALE_NODE_EPOCH')
  })

  it('keeps the ISR within the replicas, with its leader, each once, and is a change', () => {
    const context = cluster()
    expect(alter(context, 1, change(context, [1, 4]))).toBe('refused at 0: node 4 is no replica')
    expect(alter(context, 1, change(context, [2, 3]))).toBe('refused at 0: the leader must be in the ISR')
    expect(alter(context, 1, change(context, [1, 1]))).toBe('refused at 0: the ISR 1,1 names a node twice')
    expect(alter(context, 1, change(context, [3, 2, 1]))).toBe('refused at 0: it changes nothing')
  })

  it('lets nobody enter that is fenced, draining, or another process than the one that caught up', () => {
    const context = cluster()
    alter(context, 1, change(context, [1, 2]))
    const heard = context.epochOf(3)
    const asHeard = () => change(context, [1, 2, heard])
    context.run(context.controller.nodes.fence(heard))
    expect(alter(context, 1, asHeard())).toBe('refused at 1: node 3 is fenced')
    context.run(context.controller.nodes.unfence(heard))
    context.run(context.controller.nodes.drain(heard))
    expect(alter(context, 1, asHeard())).toBe('refused at 1: node 3 is draining')
    const again = context.register(3, { incarnation: 'another' })
    context.run(context.controller.nodes.unfence({ nodeId: 3, ...again }))
    expect(alter(context, 1, asHeard())).toBe('refused at 1: node 3 is registered with epoch 2')
    expect(alter(context, 1, change(context, [1, 2, { nodeId: 3 }]))).toMatch('refused at 1')
    expect(alter(context, 1, change(context, [1, 2, 3]))).toBe('accepted')
  })

  it('lets members stay that are draining or were not heard now', () => {
    const context = cluster()
    context.run(context.controller.nodes.drain(context.epochOf(2)))
    expect(alter(context, 1, change(context, [1, { nodeId: 2 }]))).toBe('accepted')
  })

  it('is judged with the others of its batch: one partition changes once', () => {
    const context = cluster()
    const wish = change(context, [1, 2])
    const { answers } = context.run(
      context.controller.isr.alter(context.epochOf(1), [wish, wish, { ...wish, topicId: 'gone' }]),
    )
    expect(answers.map(answer => answer.kind)).toEqual(['accepted', 'refused', 'refused'])
    expect(answers[2]).toMatchObject({ partitionEpoch: undefined })
    expect(context.show('t')).toBe('leader=1 isr=1,2 elr= epoch=0/1')
  })
})

describe('a leader that is cut off (C8)', () => {
  it('loses the lead to one of those that reach each other, instead of stopping the writes', () => {
    const context = cluster()
    expect(alter(context, 1, change(context, [1]), everybody)).toMatch('node 2 leads from now on')
    expect(context.show('t')).toBe('leader=2 isr=1,2,3 elr= epoch=1/1')
    expect(alter(context, 2, change(context, [2, 3]), everybody)).toBe('accepted')
  })

  it('is refused, but not replaced, when one was elected just now', () => {
    const context = cluster()
    const justNow = { ...everybody, mayElect: () => false }
    expect(alter(context, 1, change(context, [1]), justNow)).toMatch('refused at 0')
    expect(context.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/0')
  })

  it('has its way where the others do not reach each other, are too few, damaged, or remain enough', () => {
    const context = cluster()
    const nobody = { ...everybody, isInContact: () => false }
    expect(alter(context, 1, change(context, [1]), nobody)).toBe('accepted')
    const few = cluster()
    alter(few, 1, change(few, [1, 2]))
    expect(alter(few, 1, change(few, [1]), everybody)).toBe('accepted')
    const damaged = cluster()
    expect(alter(damaged, 1, change(damaged, [1], { damaged: [3] }), everybody)).toBe('accepted')
    const enough = cluster()
    expect(alter(enough, 1, change(enough, [1, 2]), everybody)).toBe('accepted')
  })
})

describe('a damaged replica', () => {
  const report = (context: MetadataContext, nodeId: number) => {
    const topicId = context.image.topics.byName('t')?.id as string
    const replicas = [{ topicId, partition: 0 }]
    context.run(context.controller.isr.reportDamage(context.epochOf(nodeId), replicas))
  }

  it('leaves ISR and ELR, and leads no more', () => {
    const context = cluster()
    report(context, 1)
    expect(context.show('t')).toBe('leader=2 isr=2,3 elr= epoch=1/1')
    report(context, 1)
    expect(context.show('t')).toBe('leader=2 isr=2,3 elr= epoch=1/1')
    alter(context, 2, change(context, [2]))
    expect(context.show('t')).toBe('leader=2 isr=2 elr=3 epoch=1/2')
    report(context, 3)
    expect(context.show('t')).toBe('leader=2 isr=2 elr= epoch=1/3')
  })

  it('leaves its partition offline if it was the last, and is not elected uncleanly', () => {
    const context = cluster({ 'unclean.leader.election.enable': 'true' })
    for (const nodeId of [2, 3]) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
    expect(context.show('t')).toBe('leader=1 isr=1 elr=3 epoch=0/2')
    report(context, 1)
    expect(context.show('t')).toBe('leader=null isr= elr=3 epoch=1/3')
  })
})
