import type { Command } from 'commander'
import type { CliContext } from './context.ts'
import { addPerfConsume } from './perf-consume.ts'
import { addPerfEndToEnd } from './perf-e2e.ts'
import { addPerfProduce } from './perf-produce.ts'

export function addPerfCommands(program: Command, context: CliContext): void {
  const perf = program.command('perf').description('measure how fast this cluster is from here')
  addPerfProduce(perf, context)
  addPerfConsume(perf, context)
  addPerfEndToEnd(perf, context)
}
