/**
 * What a member once wrote is not there, or not as it was written. It may have voted and acknowledged what it no
 * longer knows of, so it must not go on under its name (rule A4).
 */
export class CorruptRaftData extends Error {
  override readonly name = 'CorruptRaftData'
}
