// Loaded into a node before its own code (node --require): counts syncs and answers each message of the parent
// process with the counts so far. Only the windows that count syncs run with it.
process.env.UV_THREADPOOL_SIZE ??= '16'
const fs = require('node:fs')
const { syncBuiltinESMExports } = require('node:module')

const counts = { syncs: 0, syncMs: 0 }
for (const name of ['fsync', 'fdatasync']) {
  const original = fs[name]
  fs[name] = (fd, done) => {
    const started = performance.now()
    original(fd, error => {
      counts.syncs++
      counts.syncMs += performance.now() - started
      done(error)
    })
  }
}
syncBuiltinESMExports()

process.on('message', () => process.send(counts))
// The parent's interest must not keep a node alive that wants to end.
process.channel?.unref()
