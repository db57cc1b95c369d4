/** Smaller ones are cheap to make, and many partitions would fill the spares with them. */
const SPARE_BYTES_MIN = 64 * 1024
/** As much as a busy producer has in flight anyway. */
const SPARES_BYTES_MAX = 8 * 1024 * 1024

/**
 * Buffers of settled batches for the batches to come. V8 answers fresh large buffers with full collections (external
 * memory pressure), which cost a busy producer more than the encoding of its records.
 * Invariant: nobody else looks at a spare buffer's bytes.
 */
export class SpareBuffers {
  readonly #spares: Buffer[] = []
  #bytes = 0

  /** A buffer of exactly this size, if there is one. */
  take(sizeBytes: number): Buffer | undefined {
    const last = this.#spares.at(-1)
    if (last?.length !== sizeBytes) return undefined
    this.#bytes -= sizeBytes
    return this.#spares.pop()
  }

  /** The whole buffer that `batch` lies in. */
  give(batch: Buffer): void {
    const { buffer } = batch
    const sizeBytes = buffer.byteLength
    // Batches are encoded into powers of two; another size is the outcome of a compression, which fits nothing again.
    const isEncoding = (sizeBytes & (sizeBytes - 1)) === 0
    if (!isEncoding || sizeBytes < SPARE_BYTES_MIN || this.#bytes + sizeBytes > SPARES_BYTES_MAX) return
    this.#bytes += sizeBytes
    this.#spares.push(Buffer.from(buffer))
  }
}
