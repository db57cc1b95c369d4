import type { LogEntry, LogPosition } from '../../../src/raft/messages.ts'

/** The plainest state machine: all commands in order, and a hash that is equal only for equal histories. */
export class HashedLog {
  index = 0
  hash = ''
  commands: string[] = []

  apply(entry: LogEntry): void {
    if (entry.index !== this.index + 1) throw new Error(`applies ${entry.index} after ${this.index}`)
    this.index = entry.index
    const text = Buffer.from(entry.data).toString('latin1')
    this.hash = mix(this.hash, `${entry.index}:${entry.term}:${entry.kind}:${text}`)
    if (entry.kind === 'command') this.commands.push(text)
  }

  *records(): Iterable<Uint8Array> {
    yield Buffer.from(this.hash)
    for (const command of this.commands) yield Buffer.from(command)
  }

  restore(records: readonly Buffer[], through: LogPosition): void {
    const [hash = '', ...commands] = records.map(String)
    this.index = through.index
    this.hash = hash
    this.commands = commands
  }
}

function mix(hash: string, text: string): string {
  let value = 0x811c9dc5
  for (const char of hash + text) value = Math.imul(value ^ char.charCodeAt(0), 0x01000193) >>> 0
  return value.toString(36)
}
