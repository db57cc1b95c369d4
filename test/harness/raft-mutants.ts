/**
 * Known mistakes, planted into a copy of the Raft core to see that the simulation finds them. The production
 * code holds no switch for them: a mutant is the sources with one passage exchanged, bundled in memory.
 */
import { build } from 'vite'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'

export interface Mutant {
  readonly name: string
  /** What goes wrong with it. */
  readonly harm: string
  /** Exchanges in the sources: file of `src/raft`, passage (found exactly once), replacement. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
  /** Or a mistake of the driver. */
  readonly spoil?: (output: RaftOutput) => RaftOutput
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'vote not persisted',
    harm: 'after a crash the node votes again in the same term',
    edits: [],
    spoil: output => {
      const { persist } = output
      if (persist?.hardState === undefined) return output
      const hardState = { term: persist.hardState.term, votedFor: undefined }
      return { ...output, persist: { ...persist, hardState } }
    },
  },
  {
    name: 'vote cleared on same-term step-down',
    harm: 'a candidate that steps down within its term votes for another one in it',
    edits: [
      [
        'raft-node.ts',
        '  /** Within the term; the vote of the term stays as it is. */\n' +
          '  #becomeFollower(leader: MemberId | undefined, reason: string): void {\n',
        '  #becomeFollower(leader: MemberId | undefined, reason: string): void {\n    this.#state.clearVote()\n',
      ],
      ['node-state.ts', '  voteFor(', '  clearVote() {\n    this.#votedFor = undefined\n  }\n\n  voteFor('],
    ],
  },
  {
    name: 'acknowledgement before fsync',
    harm: 'an entry counts as held by a member that forgets it in a crash',
    edits: [],
    spoil: output => ({
      ...output,
      sendNow: [...output.sendNow, ...output.sendAfterPersist],
      sendAfterPersist: [],
    }),
  },
  {
    name: '`>=` for own-term commit',
    harm: 'an entry of an earlier term is committed by counting, and a later leader may undo it',
    edits: [
      [
        'leader.ts',
        'log.termAt(reached) !== term) return true',
        'reached < this.#firstIndex - 1) return true',
      ],
      [
        'leader.ts',
        "    this.#append('noop', [NO_DATA])",
        "    this.#firstIndex = this.#state.log.lastIndex + 1\n    this.#append('noop', [NO_DATA])",
      ],
      ['leader.ts', '  #uncommittedBytes = 0\n', '  #uncommittedBytes = 0\n  #firstIndex = 0\n'],
    ],
  },
  {
    name: 'read-index id reuse',
    harm: 'a delayed answer to an earlier heartbeat confirms a read that began after it',
    edits: [['read-index.ts', 'round: this.#round + 1 })', 'round: this.#round })']],
  },
  {
    name: 'config applied without own-term commit',
    harm: 'two leaders change from the same membership into two without a common voter',
    edits: [
      [
        'leader.ts',
        'if (!this.isReady)\n      return refusedChange(',
        'if (false)\n      return refusedChange(',
      ],
    ],
  },
  {
    name: 'one-entry voter replacement',
    harm: 'old and new voters have majorities without a common voter',
    edits: [
      [
        'membership.ts',
        'return { refusal: `${voter} of the same node is still a voter: remove it first` }',
        'voters.delete(voter)',
      ],
    ],
  },
  {
    name: 'leader counts itself before fsync',
    harm: 'an entry is committed by one disk fewer than a majority',
    edits: [
      [
        'replicator.ts',
        'if (member === this.#state.self) return this.#state.log.persistedIndex',
        'if (member === this.#state.self) return this.#state.log.lastIndex',
      ],
    ],
  },
  {
    name: 'truncation by a shorter append',
    harm: 'a delayed append undoes entries that were acknowledged after it',
    edits: [
      [
        'follower.ts',
        'const conflict = entries.findIndex(entry => !log.holds(entry))',
        'if (lastNew < log.lastIndex) this.#state.truncateFrom(lastNew + 1)\n' +
          '    const conflict = entries.findIndex(entry => !log.holds(entry))',
      ],
    ],
  },
  {
    name: 'membership in force at commit, not at append',
    harm: 'a leader counts a majority of voters that the entry itself has replaced',
    edits: [
      [
        'node-state.ts',
        'get membership(): Membership {\n    return this.memberships.latest',
        'get membership(): Membership {\n    return this.memberships.at(this.log.commitIndex)',
      ],
    ],
  },
  {
    name: 'vote for a log that is behind',
    harm: 'the new leader lacks what is committed',
    edits: [
      [
        'raft-log.ts',
        'return candidateLast.term > term ||',
        'return candidateLast.term >= 0 || candidateLast.term > term ||',
      ],
    ],
  },
]

/** The node class of a mutant. Throws if a passage is gone: a mutant that changes nothing would prove nothing. */
export async function loadMutant(mutant: Mutant): Promise<typeof RaftNode> {
  if (mutant.edits.length === 0) return RaftNode
  const unused = new Set(mutant.edits)
  const plugin = {
    name: 'mutant',
    enforce: 'pre' as const,
    transform(code: string, id: string) {
      let mutated = code
      for (const edit of mutant.edits) {
        const [file, passage, replacement] = edit
        if (!id.endsWith(`/src/raft/${file}`)) continue
        if (mutated.split(passage).length !== 2) throw new Error(`${file} does not hold once: ${passage}`)
        mutated = mutated.replace(passage, () => replacement)
        unused.delete(edit)
      }
      return mutated
    },
  }
  const entry = new URL('../../src/raft/raft-node.ts', import.meta.url).pathname
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    plugins: [plugin],
    build: { write: false, minify: false, ssr: entry, rollupOptions: { output: { format: 'es' } } },
  })
  if (unused.size > 0) throw new Error(`mutant "${mutant.name}" was not applied`)
  const [bundle] = Array.isArray(result) ? result : [result]
  if (bundle === undefined || !('output' in bundle)) throw new Error('no bundle')
  const { code } = bundle.output[0]
  const module = await import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)
  return module.RaftNode
}
