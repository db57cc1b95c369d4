/** The part of a pino logger that the servers write to: the composition root hands one in. */
export interface RpcLogger {
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}
