/** Structured logging as pino has it; pure parts return data instead, so only drivers and above log. */
export interface Logger {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}
