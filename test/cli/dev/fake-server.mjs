/**
 * Stands for `naru server` where only its process matters: it is ready when told so by its HTTP port, ends in order on
 * SIGTERM (unless it is called deaf) and when its parent goes, and dies when asked: GET /die.
 */
import { createServer } from 'node:http'

const flags = process.argv.slice(3)
const flag = name => flags[flags.indexOf(name) + 1]
const node = Number(flag('--node-id'))
const say = (level, msg, facts = {}) =>
  process.stderr.write(`${JSON.stringify({ level, time: 0, node, ...facts, msg })}\n`)

say(30, 'the node serves', { peers: flag('--cluster-peers') })
if (flag('--rack') === 'fails' && node === 2) {
  say(50, 'the disk is gone')
  process.exit(74)
}
const server = createServer((request, response) => {
  if (request.url === '/die') {
    say(60, 'a broken invariant')
    process.exit(70)
  }
  response.end('ok\n')
}).listen(Number(flag('--http-port')), '127.0.0.1')
createServer()
  .listen(Number(flag('--client-port')), '127.0.0.1')
  .unref()

const end = () => {
  say(30, 'the node has stopped')
  server.close()
  server.closeAllConnections()
}
process.on('SIGTERM', () => flag('--rack') !== 'deaf' && end())
process.once('disconnect', end)
process.channel.unref()
