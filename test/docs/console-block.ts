/** A command of a `console` block and what the page says it prints. */
export interface ConsoleCommand {
  readonly command: string
  readonly output: readonly string[]
}

export function consoleCommands(text: string): ConsoleCommand[] {
  const commands: { command: string; output: string[] }[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('$ ')) commands.push({ command: line.slice(2), output: [] })
    else commands.at(-1)?.output.push(line)
  }
  return commands
}

/** Output without what differs from run to run: times, rates, ids, sizes, who leads, how records fell into batches. */
export function comparable(line: string): string {
  return line
    .replace(/ in [\d.]+ s \(.*\)$/, ' in SECONDS s (RATES)')
    .replace(/\bid [\w-]{22}\b/, 'id ID')
    .replace(/^(cluster +)[\w-]{22}:/, '$1ID:')
    .replace(/^controller +node \d+/, 'controller node N')
    .replace(/^( *\d+ +\w+ +)(?:controller|voter)\b/, '$1ROLE')
    .replace(/^( *\d+ +(?:active|fenced) .*) [1-9]\d* +(\d+)$/, '$1 SOME $2')
    .replace(/^( *\d+ +\d+ +)\d+( +[\d,]+ +[\d,]+)$/, '$1EPOCH$2')
    .replace(/\bterm \d+/, 'term N')
    .replace(/\bpid \d+/, 'pid PID')
    .replace(/ready after [\d.]+ s/, 'ready after SECONDS s')
    .replace(/"timestampMs":\d+/, '"timestampMs":MS')
    .replace(/"value":".*"/, '"value":TEXT')
    .replace(/^( *offsets) .*( compression \w+) .*/, '$1$2')
    .replace(/[\d.]+ [KM]?i?B +\d+ +/, 'SIZE BATCHES ')
    .replace(/^(acknowledged|read) .*/, '$1 MILLISECONDS')
    .replaceAll(/ +/g, ' ')
    .trimEnd()
}
