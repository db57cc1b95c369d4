import type { Epoch } from '../../base/brands.ts'
import type { MemberStream } from '../../groups/group-result.ts'
import type { AttendedTime } from '../replicas/attended-time.ts'
import type { StoredRecord } from './group-batches.ts'
import { decodeGroupRecord, isMemberKey } from './group-record-codec.ts'

/** Members of one partition whose streams are broken at the same time; who is forgotten has its whole time at a takeover. */
const NOTES_MAX = 10_000

/**
 * For how long this replica knows of members whose streams are broken, whoever coordinates: from when it read in its log
 * what the coordinator had seen, so it is never longer than they are gone. Time in which this process stood still does
 * not count (A8). Of this life only: what was there at the start is unknown.
 */
export class DisconnectNotes {
  readonly #time: AttendedTime
  readonly #notes = new Map<string, { readonly attachEpoch: Epoch; readonly sinceMs: number }>()

  constructor(time: AttendedTime) {
    this.#time = time
  }

  /** Records as the log brings them; it does not matter how many older ones of a key are left out, or come again. */
  onRecord({ key, value }: StoredRecord): void {
    if (!isMemberKey(key)) return
    const record = decodeGroupRecord(key, value)
    if (record.type !== 'member') return
    const name = keyOf(record)
    if (record.value?.disconnected !== true) {
      this.#notes.delete(name)
      return
    }
    const { attachEpoch } = record.value
    if (this.#notes.get(name)?.attachEpoch === attachEpoch) return
    this.#notes.delete(name)
    this.#notes.set(name, { attachEpoch, sinceMs: this.#time.nowMs })
    for (const oldest of this.#notes.keys()) {
      if (this.#notes.size <= NOTES_MAX) break
      this.#notes.delete(oldest)
    }
  }

  /** 0 for who is not known to be gone. */
  disconnectedMs(stream: MemberStream): number {
    const note = this.#notes.get(keyOf(stream))
    return note?.attachEpoch === stream.attachEpoch ? this.#time.nowMs - note.sinceMs : 0
  }

  clear(): void {
    this.#notes.clear()
  }
}

/** Names hold no line breaks. */
function keyOf({ group, member }: { readonly group: string; readonly member: string }): string {
  return `${group}\n${member}`
}
