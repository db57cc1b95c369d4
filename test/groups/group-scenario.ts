/**
 * Tells a story of groups: runs the commands of a scenario text and writes down what clients are told. The commands
 * are listed in test/scenarios/groups/README.md.
 */
import { GroupContext, thinned } from './group-context.ts'
import type { SimStream, StreamOptions } from './sim-stream.ts'

interface Command {
  readonly name: string
  readonly words: readonly string[]
  readonly options: ReadonlyMap<string, string>
}

/** The text with what follows each `----` written anew. */
export function retell(text: string): string {
  const scenario = new GroupScenario()
  const blocks = text.trimEnd().split(/\n\n+/)
  return `${blocks.map(block => retellBlock(scenario, block)).join('\n\n')}\n`
}

function retellBlock(scenario: GroupScenario, block: string): string {
  const lines = block.split('\n')
  const end = lines.indexOf('----')
  const head = end === -1 ? lines : lines.slice(0, end)
  const commands = head.filter(line => line !== '' && !line.startsWith('#'))
  if (commands.length === 0) return block
  const told = commands.flatMap(command => scenario.run(command))
  return [...head, '----', ...(told.length > 0 ? told : ['ok'])].join('\n')
}

class GroupScenario {
  readonly #context = new GroupContext()

  run(line: string): string[] {
    this.#context.told.length = 0
    const answer = this.#obey(parse(line))
    return [...this.#context.told, ...answer]
  }

  #obey({ name, words, options }: Command): string[] {
    const context = this.#context
    const on = () => this.#stream(words[0])
    switch (name) {
      case 'topic':
        context.catalog.put(words[0] ?? '', Number(words[1]))
        context.refresh([words[0] ?? ''])
        break
      case 'delete-topic':
        context.catalog.delete(words[0] ?? '')
        context.refresh([words[0] ?? ''])
        break
      case 'attend':
        this.#attend(words, options)
        break
      case 'leave':
        on().leave()
        break
      case 'break':
        on().break()
        break
      case 'silence':
        on().isSilent = true
        break
      case 'release':
        on().release()
        context.commit()
        break
      case 'advance':
        context.advance(Number(words[0]))
        break
      case 'commit':
        return this.#commit({ words, options })
      case 'move-coordinator':
        context.moveCoordinator({ thin: records => thinned(records, () => false) })
        break
      case 'show':
        return this.#show(words[0] ?? '')
      default:
        throw new Error(`no command ${name}`)
    }
    return []
  }

  #attend(words: readonly string[], options: Command['options']): void {
    const [group = '', member = ''] = (words[0] ?? '').split('/')
    const timeout = options.get('session-timeout')
    const pattern = options.get('pattern')
    const assignor = options.get('assignor')
    const id = options.get('process')
    const stream: StreamOptions = {
      topics: words.slice(1),
      ...(pattern !== undefined && { topicPattern: pattern }),
      ...(assignor !== undefined && { assignor }),
      ...(timeout !== undefined && { sessionTimeoutMs: Number(timeout) }),
      ...(id !== undefined && { instance: { id, attempt: Number(options.get('attempt') ?? 1), round: 0 } }),
      isSlow: options.has('slow'),
      start: () => Number(options.get('start') ?? 0),
    }
    this.#context.attend(group, member, stream)
  }

  #commit({ words, options }: Pick<Command, 'words' | 'options'>): string[] {
    const { coordinator, catalog, nowMs } = this.#context
    const [group = '', member = ''] = (words[0] ?? '').split('/')
    const offsets = words.slice(1).map(word => {
      const [, topic = '', partition, nextOffset] = /^(.*)\/(\d+)@(\d+)$/.exec(word) ?? []
      const { id } = catalog.everSeen(topic)
      const rest = { leaderEpoch: null, metadata: '' }
      return { topic, topicId: id, partition: Number(partition), nextOffset: Number(nextOffset), ...rest }
    })
    const memberEpoch = Number(options.get('epoch') ?? this.#stream(words[0]).memberEpoch)
    try {
      const request = { group, member: { member, memberEpoch }, offsets }
      const outcomes = this.#context.run(() => coordinator.offsets.commit(request, nowMs))
      return outcomes.map(({ error }, index) =>
        error === undefined ? `stored ${words[index + 1]}` : `refused ${error.reason}: ${error.message}`,
      )
    } catch (error) {
      const { reason, message } = error as { reason: string; message: string }
      return [`refused ${reason}: ${message}`]
    }
  }

  #show(name: string): string[] {
    const { coordinator } = this.#context
    if (this.#context.image.get(name) === undefined) return [`${name} does not exist`]
    const group = this.#context.run(() => coordinator.admin.describe(name))
    const nameOf = (topicId: string) => group.topicNames.get(topicId) ?? topicId
    const lines = [`${name} is ${group.state} at epoch ${group.groupEpoch}, ${group.assignor}`]
    for (const { member, memberEpoch, assigned, target } of group.members) {
      const has = assigned.map(
        one => `${nameOf(one.topicId)}/${one.partition}${one.revokingEpoch === null ? '' : ' (revoking)'}`,
      )
      const should = target.flatMap(one =>
        one.partitions.map(partition => `${nameOf(one.topicId)}/${partition}`),
      )
      lines.push(
        `  ${member} at ${memberEpoch} has ${has.sort().join(' ') || 'nothing'}, should have ${should.join(' ') || 'nothing'}`,
      )
    }
    const offsets = group.offsets.flatMap(({ topic, partition, committed }) =>
      committed === undefined ? [] : [`${topic}/${partition}@${committed.nextOffset}`],
    )
    if (offsets.length > 0) lines.push(`  committed ${offsets.join(' ')}`)
    return lines
  }

  #stream(word: string | undefined): SimStream {
    const [group = '', member = ''] = (word ?? '').split('/')
    return this.#context.stream(group, member)
  }
}

function parse(line: string): Command {
  const [name = '', ...rest] = line.trim().split(/\s+/)
  const words = rest.filter(word => !word.includes('='))
  const options = rest.filter(word => word.includes('=')).map(word => word.split('=', 2) as [string, string])
  return { name, words, options: new Map(options) }
}
