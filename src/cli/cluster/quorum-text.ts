import type { QuorumDescription, QuorumMember } from '../../client/index.ts'
import { formatCount, formatTable } from '../output.ts'

export function quorumText(quorum: QuorumDescription): string {
  const { leader, term, committedIndex, members } = quorum
  const head =
    leader === undefined
      ? `no leader is known (${heardText(quorum.metadataAgeMs)}), term ${term}`
      : `leader node ${leader}, term ${term}, committed up to ${committedIndex}`
  const columns = [
    { title: 'NODE', value: (one: QuorumMember) => one.nodeId },
    { title: 'ROLE', value: (one: QuorumMember) => roleOf(one, leader) },
    { title: 'BEHIND', value: (one: QuorumMember) => behindText(one, committedIndex) },
    { title: 'HEARD', value: (one: QuorumMember) => contactText(one, leader) },
    { title: 'DIRECTORY', value: (one: QuorumMember) => one.directoryId },
  ]
  return `${head}\n${formatTable(columns, members)}`
}

/** `2.1 s`, `3 min`: how long ago. */
export function ageText(ageMs: number): string {
  if (ageMs < 1_000) return `${Math.round(ageMs)} ms`
  return ageMs < 120_000 ? `${(ageMs / 1000).toFixed(1)} s` : `${formatCount(Math.round(ageMs / 60_000))} min`
}

/** Of a node that knows of no leader. */
export function heardText(metadataAgeMs: number | undefined): string {
  return metadataAgeMs === undefined
    ? 'none heard since the start'
    : `last heard ${ageText(metadataAgeMs)} ago`
}

function roleOf({ nodeId, isVoter }: QuorumMember, leader: number | undefined): string {
  if (!isVoter) return 'learner'
  return nodeId === leader ? 'leader' : 'voter'
}

function behindText({ matchIndex }: QuorumMember, committedIndex: number): string {
  return matchIndex === undefined ? '?' : formatCount(Math.max(0, committedIndex - matchIndex))
}

function contactText({ nodeId, lastContactMs }: QuorumMember, leader: number | undefined): string {
  if (nodeId === leader) return '-'
  return lastContactMs === undefined ? '?' : `${ageText(lastContactMs)} ago`
}
