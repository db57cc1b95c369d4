import { didYouMean } from '../base/suggest.ts'

/** What a value must be, or undefined if it is. */
export type OptionRule = (value: unknown) => string | undefined
export type OptionRules<Options> = { readonly [Name in keyof Required<Options>]: OptionRule }

/** A mistake of the caller is a TypeError that names the option, before anything is done. */
export function checkOptions<Options extends object>(
  owner: string,
  options: Options,
  rules: OptionRules<Options>,
): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(`${owner}: the options must be an object, not ${shown(options)}`)
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name as keyof Options] : undefined
    if (rule === undefined)
      throw new TypeError(`${owner}: there is no option "${name}"${didYouMean(name, Object.keys(rules))}`)
    const wanted = value === undefined ? undefined : rule(value)
    if (wanted !== undefined)
      throw new TypeError(`${owner}: the option ${name} must be ${wanted}, not ${shown(value)}`)
  }
}

export function wholeNumber(limits: { min: number; max: number }): OptionRule {
  const { min, max } = limits
  return value =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `a whole number from ${min} to ${max}`
}

export function oneOf(names: readonly string[]): OptionRule {
  return value => (names.includes(value as string) ? undefined : `one of ${names.join(', ')}`)
}

export function yesOrNo(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'true or false'
}

export function callback(value: unknown): string | undefined {
  return typeof value === 'function' ? undefined : 'a function'
}

export function topicName(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? undefined : 'the name of a topic'
}

export function shown(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value)
  return (JSON.stringify(value) ?? String(value)).slice(0, SHOWN_LENGTH_MAX)
}

const SHOWN_LENGTH_MAX = 80
