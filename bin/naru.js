#!/usr/bin/env node
// File reads, writes and syncs run on libuv's threads: 4 by default, too few for a node that syncs many
// partitions. The number is read when the first of them is needed, which is before any ES module runs; so
// this launcher is CommonJS (bin/package.json).
process.env.UV_THREADPOOL_SIZE ??= '16'
import('../dist/cli/main.js')
