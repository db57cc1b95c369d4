/** Message <-> protobuf bytes. */
export interface Codec<T> {
  /** Full name: `naru.v1.ProduceRequest`. */
  readonly name: string
  encode(message: MessageInit<T>): Buffer
  /**
   * Strict: any malformed bytes, a wrong wire type, an unknown enum number, an int64 beyond 2^53 or more parts than
   * DECODED_PARTS_MAX throw INVALID_REQUEST with the field's name. Unknown fields are skipped. `bytes` fields are
   * views into what was given: they keep it alive and change with it.
   */
  decode(bytes: Uint8Array): T
}

/** What may be left out when a message is written: everything (absent = default). */
export type MessageInit<T> = T extends Uint8Array
  ? Uint8Array
  : T extends readonly (infer E)[]
    ? readonly MessageInit<E>[]
    : T extends object
      ? { readonly [K in keyof T]?: MessageInit<T[K]> | undefined }
      : T
