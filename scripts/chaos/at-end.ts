const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** However the program ends, short of SIGKILL, the machine is left as it was found. Returns what takes that back. */
export function atEnd(clear: () => void): () => void {
  const end = () => process.exit(1)
  process.on('exit', clear)
  for (const signal of SIGNALS) process.on(signal, end)
  return () => {
    process.off('exit', clear)
    for (const signal of SIGNALS) process.off(signal, end)
  }
}
