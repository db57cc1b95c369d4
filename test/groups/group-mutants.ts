/**
 * Known mistakes, planted into a copy of the groups to see that the simulation finds them. The production code holds
 * no switch for them: a mutant is the sources with passages exchanged, bundled in memory.
 */
import { build } from 'vite'
import type { GroupsCode } from './group-context.ts'

export interface GroupMutant {
  readonly name: string
  /** What goes wrong with it. */
  readonly harm: string
  /** What the simulation must complain of. */
  readonly found: RegExp
  /** File of `src/groups`, passage (found exactly once), replacement. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
}

export const GROUP_MUTANTS: readonly GroupMutant[] = [
  {
    name: 'double assign',
    harm: 'one partition is meant for two members',
    found: /^G[12]: /,
    edits: [['uniform-assignor.ts', 'if (taken[partition] === 1) return false', '']],
  },
  {
    name: 'partition given away before release',
    harm: 'a partition is given to its new owner while the old one still has it',
    found: /^G1: /,
    edits: [
      [
        'reconciliation.ts',
        '.filter(partition => draft.owner(topicId, partition) === undefined)',
        '.filter(partition => draft.owner(topicId, partition) !== member)',
      ],
    ],
  },
  {
    name: 'good commit refused during revocation',
    harm: 'a good commit is refused at each rebalance',
    found: /^D3: a good commit was refused/,
    edits: [
      [
        'offset-control.ts',
        'mayCommit(owned.get(keyOf(offset)), by.memberEpoch)',
        'mayCommit(owned.get(keyOf(offset)), by.memberEpoch) || by.memberEpoch !== assignment.memberEpoch',
      ],
    ],
  },
  {
    name: 'commit accepted from a superseded owner',
    harm: 'a commit of an earlier ownership, or stream, overwrites a newer one',
    found: /^D3: a bad commit was accepted/,
    edits: [['offset-control.ts', '&& memberEpoch >= owned.assignedEpoch', '']],
  },
  {
    name: 'a new stream keeps the old epochs',
    harm: 'the process that was replaced goes on committing',
    found: /^D3: a bad commit was accepted/,
    edits: [['member-control.ts', '({ ...owned, assignedEpoch: draft.epoch })', 'owned']],
  },
  {
    name: 'a join that comes late takes the place of a newer one',
    harm: 'a process is fenced by itself, and ends',
    found: /^succession: attempt /,
    edits: [['member-succession.ts', 'if (isOlder(instance, last))', 'if (false)']],
  },
  {
    name: 'a process that was replaced comes back',
    harm: 'the process that is there now is fenced by one that is gone',
    found: /^succession: .* was replaced$/,
    edits: [['member-succession.ts', 'replaced.includes(instance.id)', 'false']],
  },
  {
    name: 'start position not committed',
    harm: 'records that come in during a crash are skipped by "latest"',
    found: /^D5: /,
    edits: [
      [
        'member-control.ts',
        'nextOffset: group.offset(topicId, partition)?.nextOffset,',
        'nextOffset: group.offset(topicId, partition)?.nextOffset ?? 0,',
      ],
    ],
  },
  {
    name: 'freed partitions forgotten',
    harm: 'a released partition is read by nobody until the next change of the group',
    found: /^reconciliation: |^L5: /,
    edits: [['group-lifecycle.ts', '      giveFreed(draft, freed)\n', '']],
  },
  {
    name: 'timers not restarted at takeover (release)',
    harm: 'a member that never releases blocks a partition for ever',
    found: /^L5: /,
    edits: [
      [
        'group-lifecycle.ts',
        'for (const epoch of revokingEpochs(group, member)) yield',
        'for (const epoch of []) yield',
      ],
    ],
  },
  {
    name: 'timers not restarted at takeover (session)',
    harm: 'a member that went with its coordinator keeps its partitions for ever',
    found: /^L5: /,
    edits: [['group-lifecycle.ts', 'yield this.sessionTimer(stream, returnDelayMs(info, passedMs))\n', '\n']],
  },
  {
    name: 'a member that came back still counts as gone',
    harm: 'a member that lives is expelled after a break that it has mended',
    found: /D4: /,
    edits: [['member-control.ts', 'disconnected: false,', 'disconnected: before?.disconnected ?? false,']],
  },
  {
    name: 'gone for long at a takeover, so gone',
    harm: 'a member that lives is expelled because it could not come back while there was no coordinator',
    found: /D1: /,
    edits: [
      [
        'group-lifecycle.ts',
        'return Math.max(brokenStreamDelayMs(info) - passedMs, RETURN_MS_MIN)',
        'return Math.max(brokenStreamDelayMs(info) - passedMs, 0)',
      ],
    ],
  },
  {
    name: 'index follows the order of records',
    harm: 'a batch, or a thinned-out log, that names the new owner first leaves the partition to nobody',
    found: /^index: |^reconciliation: |^G1: /,
    edits: [['partition-index.ts', '&& index.get(key) === member) index.delete', ') index.delete']],
  },
]

export async function loadGroupMutant(mutant: GroupMutant): Promise<GroupsCode> {
  const unused = new Set(mutant.edits)
  const plugin = {
    name: 'mutant',
    enforce: 'pre' as const,
    transform(code: string, id: string) {
      let mutated = code
      for (const edit of mutant.edits) {
        const [file, passage, replacement] = edit
        if (!id.endsWith(`/src/groups/${file}`)) continue
        if (mutated.split(passage).length !== 2) throw new Error(`${file} does not hold once: ${passage}`)
        mutated = mutated.replace(passage, () => replacement)
        unused.delete(edit)
      }
      return mutated
    },
  }
  const entry = new URL('./groups-code.ts', import.meta.url).pathname
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
  return import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)
}
