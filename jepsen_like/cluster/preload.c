/* A disk that misbehaves on demand, for one process: loaded before the C library (LD_PRELOAD), it stands between the
 * program and the calls that sync, write and ask for free space.
 *
 * What to do stands in a page that is shared with whoever controls it (preload.py has the same layout), so that looking
 * costs one load. Writes are refused only below one folder, and only those that make a file longer: what a file has
 * already it keeps, as on most disks. Sockets, pipes and output elsewhere pass untouched. Without a control page every
 * call passes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    int32_t sync_error;  /* of every sync; 0: none, -1: says that it was done and does nothing */
    int32_t sync_ms;     /* that every sync takes longer; -1: until this is changed */
    int32_t write_error; /* of every write below the folder that makes a file longer; 0: none */
    int32_t tells_free;  /* whether `free_bytes` is what is told */
    int64_t free_bytes;
    uint64_t failed, skipped, delayed, refused, told; /* how often each of these was done */
};

static volatile struct control *control;
static char folder[4096];
static size_t folder_length;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JEPSEN_LIKE_DISK_CONTROL"), *below = getenv("JEPSEN_LIKE_DISK_FOLDER");
    if (path == NULL || below == NULL || strlen(below) >= sizeof folder)
        return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) {
        perror(path);
        _exit(125); /* a disk that was to fail and does not would be a test that tests nothing */
    }
    close(file);
    strcpy(folder, below);
    folder_length = strlen(folder);
    control = page;
}

#define COUNT(what) __atomic_fetch_add(&control->what, 1, __ATOMIC_RELAXED)

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (real == NULL) \
        real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Looks again and again, so that a stall ends when it is lifted. */
static void linger(void) {
    const struct timespec moment = {0, 2000000};
    double began = seconds();
    int32_t wanted;
    COUNT(delayed);
    while ((wanted = control->sync_ms) != 0 && (wanted < 0 || (seconds() - began) * 1000 < wanted))
        nanosleep(&moment, NULL);
}

/* 1: the real call is to be made. Else *result is what to answer. */
static int syncs(int *result) {
    if (control == NULL)
        return 1;
    if (control->sync_ms != 0)
        linger();
    int32_t error = control->sync_error;
    if (error == 0)
        return 1;
    if (error < 0) {
        COUNT(skipped);
        *result = 0;
    } else {
        COUNT(failed);
        errno = error;
        *result = -1;
    }
    return 0;
}

#define SYNC(name, parameters, arguments) \
    int name parameters { \
        int result; \
        REAL(int, name, UNPACK parameters); \
        return syncs(&result) ? real arguments : result; \
    }
#define UNPACK(...) __VA_ARGS__

SYNC(fsync, (int file), (file))
SYNC(fdatasync, (int file), (file))
SYNC(syncfs, (int file), (file))
SYNC(msync, (void *start, size_t length, int flags), (start, length, flags))
SYNC(sync_file_range, (int file, off64_t start, off64_t length, unsigned flags), (file, start, length, flags))

static int is_below(const char *path, ssize_t length) {
    if (length < (ssize_t)folder_length || strncmp(path, folder, folder_length) != 0)
        return 0;
    return path[folder_length] == '/' || path[folder_length] == '\0';
}

/* The errno to refuse a write with that ends there, or 0. */
static int refusal(int file, int64_t end) {
    if (control == NULL || control->write_error == 0)
        return 0;
    char link[64], path[4096 + 64];
    struct stat now;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int grows = length >= 0 && fstat(file, &now) == 0 && S_ISREG(now.st_mode) && end > now.st_size;
    errno = before;
    if (!grows)
        return 0;
    path[length] = '\0';
    if (!is_below(path, length))
        return 0;
    COUNT(refused);
    return control->write_error;
}

/* Where a write ends that begins where the file stands; looked at only when it may be refused. */
static int64_t after(int file, int64_t length) {
    if (control == NULL || control->write_error == 0)
        return 0;
    int before = errno, flags = fcntl(file, F_GETFL);
    struct stat now;
    int64_t at = lseek(file, 0, SEEK_CUR);
    if (flags >= 0 && (flags & O_APPEND) && fstat(file, &now) == 0)
        at = now.st_size;
    errno = before;
    return at < 0 ? 0 : at + length;
}

static int64_t total(const struct iovec *parts, int count) {
    int64_t bytes = 0;
    for (int part = 0; part < count; part++)
        bytes += parts[part].iov_len;
    return bytes;
}

#define WRITE(result, name, end, parameters, arguments) \
    result name parameters { \
        int refused = refusal(file, end); \
        if (refused != 0) { \
            errno = refused; \
            return -1; \
        } \
        REAL(result, name, UNPACK parameters); \
        return real arguments; \
    }
#define ALLOCATE(name, offset) /* answers the error instead of setting it */ \
    int name(int file, offset start, offset length) { \
        int refused = refusal(file, start + length); \
        REAL(int, name, int, offset, offset); \
        return refused != 0 ? refused : real(file, start, length); \
    }
#define FILLED after(file, length)
#define GATHERED after(file, total(parts, count))

WRITE(ssize_t, write, FILLED, (int file, const void *bytes, size_t length), (file, bytes, length))
WRITE(ssize_t, writev, GATHERED, (int file, const struct iovec *parts, int count), (file, parts, count))
WRITE(ssize_t, pwrite, at + length, (int file, const void *bytes, size_t length, off_t at), (file, bytes, length, at))
WRITE(ssize_t, pwritev, at + total(parts, count), (int file, const struct iovec *parts, int count, off_t at),
      (file, parts, count, at))
WRITE(ssize_t, pwritev2, at < 0 ? GATHERED : at + total(parts, count),
      (int file, const struct iovec *parts, int count, off_t at, int flags), (file, parts, count, at, flags))
WRITE(int, ftruncate, length, (int file, off_t length), (file, length))
WRITE(int, fallocate, start + length, (int file, int mode, off_t start, off_t length), (file, mode, start, length))
WRITE(ssize_t, copy_file_range, to != NULL ? *to + (int64_t)length : FILLED,
      (int from, off64_t *at, int file, off64_t *to, size_t length, unsigned flags), (from, at, file, to, length, flags))
WRITE(ssize_t, sendfile, FILLED, (int file, int from, off_t *at, size_t length), (file, from, at, length))
ALLOCATE(posix_fallocate, off_t)
#ifdef __GLIBC__ /* where what is large has other names */
WRITE(ssize_t, pwrite64, at + length, (int file, const void *bytes, size_t length, off64_t at),
      (file, bytes, length, at))
WRITE(ssize_t, pwritev64, at + total(parts, count), (int file, const struct iovec *parts, int count, off64_t at),
      (file, parts, count, at))
WRITE(ssize_t, pwritev64v2, at < 0 ? GATHERED : at + total(parts, count),
      (int file, const struct iovec *parts, int count, off64_t at, int flags), (file, parts, count, at, flags))
WRITE(int, ftruncate64, length, (int file, off64_t length), (file, length))
WRITE(int, fallocate64, start + length, (int file, int mode, off64_t start, off64_t length),
      (file, mode, start, length))
WRITE(ssize_t, sendfile64, FILLED, (int file, int from, off64_t *at, size_t length), (file, from, at, length))
ALLOCATE(posix_fallocate64, off64_t)
#endif

/* What is free, as the control page has it; of a real answer. */
#define SPACE(name, parameters, arguments, unit) \
    int name parameters { \
        REAL(int, name, UNPACK parameters); \
        int result = real arguments; \
        if (result == 0 && control != NULL && control->tells_free) { \
            COUNT(told); \
            disk->f_bavail = disk->f_bfree = control->free_bytes / (disk->unit ? disk->unit : 1); \
        } \
        return result; \
    }

SPACE(statvfs, (const char *path, struct statvfs *disk), (path, disk), f_frsize)
SPACE(fstatvfs, (int file, struct statvfs *disk), (file, disk), f_frsize)
SPACE(statfs, (const char *path, struct statfs *disk), (path, disk), f_bsize)
SPACE(fstatfs, (int file, struct statfs *disk), (file, disk), f_bsize)
#ifdef __GLIBC__
SPACE(statvfs64, (const char *path, struct statvfs64 *disk), (path, disk), f_frsize)
SPACE(fstatvfs64, (int file, struct statvfs64 *disk), (file, disk), f_frsize)
SPACE(statfs64, (const char *path, struct statfs64 *disk), (path, disk), f_bsize)
SPACE(fstatfs64, (int file, struct statfs64 *disk), (file, disk), f_bsize)
#endif
