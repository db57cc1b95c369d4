import { readFileSync } from 'node:fs'

/** Of this release, as package.json has it. The same relative place from `src` and from `dist`. */
export const VERSION: string = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
).version
