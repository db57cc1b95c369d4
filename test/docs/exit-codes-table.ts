import { EXIT_CODES } from '../../src/cli/exit-codes.ts'

const MEANINGS: Readonly<Record<keyof typeof EXIT_CODES, string>> = {
  ok: 'done',
  failed: 'failed, for a reason without a code of its own',
  usage: 'the command line, or what it asks for, is not valid',
  notFound: 'what the command names does not exist: a topic, a partition, a node, a running dev cluster',
  alreadyExists: 'it exists already',
  tryAgain:
    'no connection, no controller, overloaded, disk full, port in use: the same command may succeed later',
  outcomeUnknown: 'records may or may not have been stored',
  damagedData: 'damaged data were found',
  interrupted: 'ended by a second Ctrl-C',
}

/** The table of docs/cli.md. */
export function exitCodesTable(): string {
  const rows = Object.entries(EXIT_CODES).map(
    ([name, code]) => `| ${code} | ${MEANINGS[name as keyof typeof EXIT_CODES]} |\n`,
  )
  return `| code | meaning |\n|---|---|\n${rows.join('')}`
}
