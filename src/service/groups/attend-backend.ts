import type { NaruError } from '../../base/errors.ts'

/** What attends a group for a client: the coordinator on this node, or the way to that on another. */
export interface AttendBackend {
  /** Resolves once the member was told that it is one; rejects where it is none: then nothing is left of this. */
  readonly joined: Promise<{ readonly sessionTimeoutMs: number }>
  /** A frame of the client, as it sent it; once joined. Throws what is wrong with it. */
  send(frame: Buffer): void
  /** The process of the client lives, whatever it is busy with. */
  heard(): void
  /** The client's stream is over otherwise: it may come back. */
  close(): void
  /** The client reads again. */
  drained(): void
}

/** Where the frames for a client go. */
export interface AttendOutlet {
  /** False: full, wait for `drained`. */
  write(message: Uint8Array): boolean
  /** These two once, and only after `joined`. */
  end(): void
  fail(error: NaruError): void
  /** No more frames, for a while. */
  pause(): void
  resume(): void
}
