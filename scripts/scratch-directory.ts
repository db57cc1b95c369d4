import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atExit } from './bench/child-processes.ts'

export interface ScratchDirectory {
  readonly path: string
  readonly remove: () => void
}

/** An empty directory, gone when this program ends, however it does. */
export function scratchDirectory(prefix: string): ScratchDirectory {
  const path = mkdtempSync(join(tmpdir(), prefix))
  const removeNow = () => rmSync(path, { recursive: true, force: true })
  const forget = atExit(removeNow)
  return {
    path,
    remove: () => {
      forget()
      removeNow()
    },
  }
}
