import { prettyFactory } from 'pino-pretty'

/** A line of a node's log for people, in one line unless it has a stack; anything else stays as it is. */
export function prettyLog(options: { isColored: boolean }): (line: string) => string {
  const format = prettyFactory({
    colorize: options.isColored,
    ignore: 'pid,hostname,node',
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
  })
  return line => format(line).trimEnd()
}
