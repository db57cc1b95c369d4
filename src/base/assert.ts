/**
 * Assertions stay on in production: an invariant that does not hold means that the code is wrong, and a node
 * that goes on with wrong state can lose or corrupt records. The composition root ends the process on one.
 */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation'
}

/** A function as message, on hot paths: what it is made of is then put into words only where it is needed. */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantViolation(typeof message === 'string' ? message : message())
}

/** For the `default` of a switch over a union: a new member becomes a compile error there. */
export function unreachable(value: never, what = 'case'): never {
  throw new InvariantViolation(`unreachable ${what}: ${String(value)}`)
}
