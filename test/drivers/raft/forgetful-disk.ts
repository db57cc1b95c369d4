import type { Disk } from '../../../src/ports/disk.ts'

/** The disk as a driver uses it that forgets to sync the directory when it has put a snapshot in place. */
export function diskWithoutSnapshotSync(disk: Disk): Disk {
  let isForgotten = false
  return {
    open: (path, mode) => disk.open(path, mode),
    readFile: path => disk.readFile(path),
    list: directory => disk.list(directory),
    readDirectory: (directory, options) => disk.readDirectory(directory, options),
    makeDirectory: directory => disk.makeDirectory(directory),
    stat: path => disk.stat(path),
    rename: async (from, to) => {
      await disk.rename(from, to)
      isForgotten = to.endsWith('.snapshot')
    },
    remove: path => disk.remove(path),
    removeDirectory: directory => disk.removeDirectory(directory),
    syncDirectory: async directory => {
      if (!isForgotten) await disk.syncDirectory(directory)
      isForgotten = false
    },
    syncWithName: (directory, name) => disk.syncWithName(directory, name),
    space: path => disk.space(path),
  }
}
