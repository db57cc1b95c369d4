import { getHeapStatistics, setFlagsFromString } from 'node:v8'

/** What may be allocated, buffers included, between two full collections, as far as the heap is smaller than that. */
const GROWTH_BYTES = 128 * 1024 * 1024
const INTERVAL_MS = 10_000

/**
 * V8 lets a heap grow by a factor of what lives on it until the next full collection, and counts the bytes of buffers
 * in. The heap of a busy node or producer is small (15 MB) and its buffers come and go by hundreds of megabytes a
 * second: with V8's own factor it spends a fifth of its time in collections that find nothing. So the factor is set
 * to allow a fixed amount instead; a heap that has outgrown that amount is left to V8.
 */
export function paceHeap(): void {
  setPace()
  setInterval(setPace, INTERVAL_MS).unref()
}

function setPace(): void {
  const { used_heap_size: usedBytes } = getHeapStatistics()
  const percent = usedBytes < GROWTH_BYTES ? Math.round((GROWTH_BYTES / usedBytes) * 100) : 0
  setFlagsFromString(`--heap-growing-percent=${percent}`)
}
