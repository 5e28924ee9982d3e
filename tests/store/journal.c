/* Preloaded into a writer: journals, in order, what it does to the files of one folder.
 *
 * SKERRY_JOURNAL_FOLDER: the folder; SKERRY_JOURNAL: the file to write. A record is
 *   char op; u32 path length; i64 offset; i64 length; path; data
 * W write, T truncate (offset = new length), S sync, C create, U unlink, R rename (data = new name).
 * A path is relative to the folder; "" is the folder itself. The syncs do not reach the disk: what a crash would
 * leave is rebuilt from the journal, so the test need not wait for a disk.
 * Built for 64-bit Linux, where off_t has one size.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int journal = -1;
static char folder[PATH_MAX];
static size_t folder_length;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("SKERRY_JOURNAL"), *watched = getenv("SKERRY_JOURNAL_FOLDER");
    int (*really)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    if (!path || !watched) return;
    snprintf(folder, sizeof folder, "%s", watched);
    folder_length = strlen(folder);
    journal = really(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) abort();
}

/* The path's part below the folder, or NULL if it lies elsewhere. */
static const char *inside(const char *path) {
    if (journal < 0 || !path || strncmp(path, folder, folder_length) != 0) return NULL;
    if (path[folder_length] == '\0') return "";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *inside_fd(int fd, char *space) {
    char link[64];
    ssize_t length;
    int before = errno;
    if (journal < 0 || fd == journal) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, space, PATH_MAX - 1);
    errno = before;
    if (length < 0) return NULL;
    space[length] = '\0';
    return inside(space);
}

static void record(char op, const char *path, int64_t offset, const void *data, int64_t length) {
    uint32_t path_length = strlen(path);
    struct iovec parts[] = {{&op, 1}, {&path_length, 4}, {&offset, 8}, {&length, 8},
                            {(void *)path, path_length}, {(void *)data, data ? length : 0}};
    int before = errno;
    ssize_t whole = 21 + path_length + (data ? length : 0);
    if (writev(journal, parts, 6) != whole) abort();
    errno = before;
}

#define REAL(name) __typeof__(&name) really = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define PWRITE(name)                                                          \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) {       \
        REAL(name);                                                           \
        char space[PATH_MAX];                                                 \
        ssize_t done = really(fd, data, size, offset);                        \
        const char *path = done > 0 ? inside_fd(fd, space) : NULL;            \
        if (path) record('W', path, offset, data, done);                      \
        return done;                                                          \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    char space[PATH_MAX];
    ssize_t done = really(fd, data, size);
    const char *path = done > 0 ? inside_fd(fd, space) : NULL;
    if (path) record('W', path, lseek(fd, 0, SEEK_CUR) - done, data, done);
    return done;
}

#define TRUNCATE(name)                                                        \
    int name(int fd, off_t length) {                                          \
        REAL(name);                                                           \
        char space[PATH_MAX];                                                 \
        int failed = really(fd, length);                                      \
        const char *path = failed ? NULL : inside_fd(fd, space);              \
        if (path) record('T', path, length, NULL, 0);                         \
        return failed;                                                        \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name)                                                            \
    int name(int fd) {                                                        \
        REAL(name);                                                           \
        char space[PATH_MAX];                                                 \
        const char *path = inside_fd(fd, space);                              \
        if (!path) return really(fd);                                         \
        record('S', path, 0, NULL, 0);                                        \
        return 0;                                                             \
    }
SYNC(fsync)
SYNC(fdatasync)

#define OPEN(name)                                                            \
    int name(const char *path, int flags, ...) {                              \
        REAL(name);                                                           \
        struct stat before;                                                   \
        va_list more;                                                         \
        va_start(more, flags);                                                \
        int mode = va_arg(more, int);                                         \
        va_end(more);                                                         \
        const char *relative = (flags & O_CREAT) ? inside(path) : NULL;       \
        int is_new = relative && stat(path, &before) != 0;                    \
        int fd = really(path, flags, mode);                                   \
        if (fd >= 0 && is_new) record('C', relative, 0, NULL, 0);             \
        return fd;                                                            \
    }
OPEN(open)
OPEN(open64)

int unlink(const char *path) {
    REAL(unlink);
    int failed = really(path);
    const char *relative = failed ? NULL : inside(path);
    if (relative) record('U', relative, 0, NULL, 0);
    return failed;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    int failed = really(from, to);
    const char *source = failed ? NULL : inside(from), *target = failed ? NULL : inside(to);
    if (source && target) record('R', source, 0, target, strlen(target));
    return failed;
}
