import { hash } from 'node:crypto'

/**
 * 128 bits that stand for a record's key where many keys must fit into little memory: the cleaner of compacted logs takes
 * two keys of one hash for the same key. Kafka takes MD5; there two keys of one hash can be made on purpose, and the
 * record of one would then remove that of the other. So it is the first half of SHA-256 here.
 */
export const KEY_HASH_BYTES = 16

/** At least `KEY_HASH_BYTES` bytes, of which these many count. */
export function keyHash(key: Uint8Array): Buffer {
  return hash('sha256', key, 'buffer')
}
