const SEED = 0x9747b28c
const M = 0x5bd1e995
const R = 24

/** 32-bit MurmurHash2 (Austin Appleby, public domain) with Kafka's seed, as a signed number like Java's int. */
export function murmur2(data: Uint8Array): number {
  const length = data.length
  const tail = length & ~3
  let hash = SEED ^ length
  for (let at = 0; at < tail; at += 4) {
    let k =
      byte(data, at) | (byte(data, at + 1) << 8) | (byte(data, at + 2) << 16) | (byte(data, at + 3) << 24)
    k = Math.imul(k, M)
    k ^= k >>> R
    hash = Math.imul(hash, M) ^ Math.imul(k, M)
  }
  if (length > tail) {
    if (length - tail === 3) hash ^= byte(data, tail + 2) << 16
    if (length - tail >= 2) hash ^= byte(data, tail + 1) << 8
    hash = Math.imul(hash ^ byte(data, tail), M)
  }
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}

/** The partition of a key, the same as Kafka's default partitioner picks: a topic can move between both. */
export function partitionForKey(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fffffff) % partitionCount
}

function byte(data: Uint8Array, at: number): number {
  return data[at] as number
}
