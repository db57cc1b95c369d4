import { homedir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from './child-processes.ts'

/** Runs a line of shell with the functions of an anchor directory (`kafka/lib.sh`); returns what it printed. */
export async function anchorShell(
  anchors: { readonly directory: string; readonly resultsDirectory: string },
  script: string,
  args: readonly string[] = [],
): Promise<string> {
  const lines = `. "$ANCHORS_DIRECTORY/kafka/lib.sh"\n${script}`
  return runProgram('bash', ['-c', lines, 'bash', ...args], {
    env: {
      ...process.env,
      ANCHORS_HOME: anchorsHome(),
      ANCHORS_DIRECTORY: anchors.directory,
      RESULTS: anchors.resultsDirectory,
    },
  })
}

/** Where the anchors were installed, and where their servers keep data. */
export function anchorsHome(): string {
  return process.env['ANCHORS_HOME'] ?? join(homedir(), '.anchors')
}
