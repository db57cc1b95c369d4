import { NaruError } from '../../base/errors.ts'

/**
 * What a member once wrote is not there, or not as it was written. It may have voted and acknowledged what it no
 * longer knows of, so it must not go on under its name (rule A4).
 */
export class CorruptRaftData extends Error {
  override readonly name = 'CorruptRaftData'
}

/** Of a member whose log is shorter than what it acknowledged. */
export function lostPart({ acknowledged, lastIndex }: { acknowledged: number; lastIndex: number }): string {
  return `it acknowledged the metadata log to ${acknowledged}, and has it to ${lastIndex}`
}

/** Why such a member, or one that has forgotten votes, ends. */
export function lostMetadata(damage: string): NaruError {
  return new NaruError(
    'CORRUPT_DATA',
    `this node has lost metadata that it had on its disk: ${damage}: an old copy of the data directory was put ` +
      'back, or the disk lost what it had synced. Start the node again: it joins the quorum as a new member and ' +
      'gets what it lacks from the others.',
  )
}
