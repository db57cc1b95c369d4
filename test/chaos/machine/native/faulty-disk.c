/*
 * For LD_PRELOAD: syncs and writes that fail or are slow while a control file says so. The file CHAOS_DISK_FAULTS is mapped, so
 * what the test writes there counts at once: int32 0: 1 = syncs fail with EIO, 2 = writes fail with ENOSPC; int32 1: ms by
 * which each sync is late.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FAIL_SYNC = 1, FAIL_WRITE = 2 };

static volatile const int32_t *control;

__attribute__((constructor)) static void map_control(void) {
  const char *path = getenv("CHAOS_DISK_FAULTS");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

/* Sockets and pipes are no part of the disk. */
static int is_file(int file) {
  struct stat about;
  return fstat(file, &about) == 0 && S_ISREG(about.st_mode);
}

static int sync_fails(void) {
  if (!control) return 0;
  int32_t late = control[1];
  if (late > 0) {
    struct timespec pause = {late / 1000, (late % 1000) * 1000000L};
    nanosleep(&pause, NULL);
  }
  if (control[0] != FAIL_SYNC) return 0;
  errno = EIO;
  return 1;
}

static int write_fails(int file) {
  if (!control || control[0] != FAIL_WRITE || !is_file(file)) return 0;
  errno = ENOSPC;
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int file) { return sync_fails() ? -1 : NEXT(fsync)(file); }
int fdatasync(int file) { return sync_fails() ? -1 : NEXT(fdatasync)(file); }
ssize_t write(int file, const void *bytes, size_t count) {
  return write_fails(file) ? -1 : NEXT(write)(file, bytes, count);
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  return write_fails(file) ? -1 : NEXT(pwrite)(file, bytes, count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
  return write_fails(file) ? -1 : NEXT(pwrite64)(file, bytes, count, at);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
  return write_fails(file) ? -1 : NEXT(writev)(file, parts, count);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
  return write_fails(file) ? -1 : NEXT(pwritev)(file, parts, count, at);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
  return write_fails(file) ? -1 : NEXT(pwritev64)(file, parts, count, at);
}
