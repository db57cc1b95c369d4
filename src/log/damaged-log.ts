import type { Defect } from './segment-scan.ts'

/** Damage found while a log is brought into memory: thrown, so that the caller can put the log in quarantine. */
export class DamagedLog extends Error {
  override readonly name = 'DamagedLog'
  readonly defect: Defect

  constructor(defect: Defect) {
    super(defect.what)
    this.defect = defect
  }
}
