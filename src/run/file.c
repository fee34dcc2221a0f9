/* SPDX-License-Identifier: MIT */
/*
 * file.c - what changes or saves a file as a whole.
 *
 * What is mapped may be newer than the file, and pages past a new end must go.
 * So for a file that is managed:
 *     size, sync          quire does it
 *     copies out of it    written back first, then the kernel's copy
 *     copies into it      refused with the errno that makes programs read and
 *                         write instead (EXDEV, EINVAL)
 *     holes               zeros are written through quire, then the kernel
 *                         frees the blocks of what is zero on both sides
 *     moving its blocks   refused (EOPNOTSUPP)
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "run/fileset.h"
#include "run/gate.h"
#include "run/real.h"
#include "run/xfer.h"

/* The quire, if fd's file is its. */
static struct quire *file_owner(int fd)
{
	struct quire *q = gate_quire();
	bool regular;

	return q && fd_managed(fd, &regular) ? q : NULL;
}

static struct quire *path_owner(int dir, const char *path, struct stat *st)
{
	struct quire *q = gate_quire();
	int saved = errno;
	bool known;

	if (!q)
		return NULL;
	known = !fstatat(dir, path, st, 0) && S_ISREG(st->st_mode) && fileset_has(st);
	errno = saved;
	return known ? q : NULL;
}

static int set_size(struct quire *q, int fd, off_t length)
{
	sigset_t saved;
	int r;

	gate_enter(&saved);
	r = quire_ftruncate(q, fd, length);
	gate_leave(&saved);
	return r;
}

static int save(struct quire *q, int fd)
{
	sigset_t saved;
	int r;

	gate_enter(&saved);
	r = quire_fsync(q, fd);
	gate_leave(&saved);
	return r;
}

/* ---- size ---- */

WRAP int ftruncate(int fd, off_t length)
{
	struct quire *q = file_owner(fd);

	return q ? set_size(q, fd, length) : REAL(ftruncate)(fd, length);
}
ALIAS(ftruncate64, ftruncate);

static int close_keeping_errno(int fd, int r)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return r;
}

WRAP int truncate(const char *path, off_t length)
{
	struct stat st;
	struct iovec string;
	PIN_SCOPE(held);
	struct quire *q;
	int fd;

	if (pin_path(&held, &string, path))
		return -1;
	q = path_owner(AT_FDCWD, path, &st);
	if (!q)
		return REAL(truncate)(path, length);
	fd = REAL(open)(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	return close_keeping_errno(fd, set_size(q, fd, length));
}
ALIAS(truncate64, truncate);

/* ---- open: O_TRUNC of a managed file ---- */

static int open_and_empty(struct quire *q, int dir, const char *path, int flags)
{
	int fd = REAL(openat)(dir, path, flags & ~(O_TRUNC | O_CREAT));

	if (fd < 0 || !set_size(q, fd, 0))
		return fd;
	return close_keeping_errno(fd, -1);
}

static int do_open(int dir, const char *path, int flags, mode_t mode)
{
	struct quire *q = NULL;
	struct iovec string;
	struct stat st;
	PIN_SCOPE(held);

	/* Programs that keep lists of names in a mapped file open from there. */
	if (pin_path(&held, &string, path))
		return -1;
	if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_EXCL))
		q = path_owner(dir, path, &st);
	if (q)
		return open_and_empty(q, dir, path, flags);
	if (dir == AT_FDCWD)
		return REAL(open)(path, flags, mode);
	return REAL(openat)(dir, path, flags, mode);
}

static mode_t mode_of(int flags, va_list ap)
{
	return __OPEN_NEEDS_MODE(flags) ? va_arg(ap, mode_t) : 0;
}

WRAP int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(AT_FDCWD, path, flags, mode);
}
ALIAS(open64, open);

WRAP int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return do_open(dir, path, flags, mode);
}
ALIAS(openat64, openat);

/* _FORTIFY_SOURCE's names for those without a mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

WRAP int __open_2(const char *path, int flags)
{
	return do_open(AT_FDCWD, path, flags, 0);
}
ALIAS(__open64_2, __open_2);

WRAP int __openat_2(int dir, const char *path, int flags)
{
	return do_open(dir, path, flags, 0);
}
ALIAS(__openat64_2, __openat_2);

WRAP int creat(const char *path, mode_t mode)
{
	return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALIAS(creat64, creat);

/* A stream truncates by itself; of a file that is empty already that is harmless. */
static void empty_first(const char *path, const char *mode)
{
	int saved = errno;
	struct stat st;

	if (path && *mode == 'w' && !strchr(mode, 'x') && path_owner(AT_FDCWD, path, &st))
		(void)!truncate(path, 0);
	errno = saved;
}

WRAP FILE *fopen(const char *path, const char *mode)
{
	struct iovec string;
	PIN_SCOPE(held);

	if (pin_path(&held, &string, path))
		return NULL;
	empty_first(path, mode);
	return REAL(fopen)(path, mode);
}
ALIAS(fopen64, fopen);

WRAP FILE *freopen(const char *path, const char *mode, FILE *f)
{
	struct iovec string;
	PIN_SCOPE(held);

	if (pin_path(&held, &string, path))
		return NULL;
	empty_first(path, mode);
	return REAL(freopen)(path, mode, f);
}
ALIAS(freopen64, freopen);

/* ---- sync ---- */

WRAP int fsync(int fd)
{
	struct quire *q = file_owner(fd);

	return q ? save(q, fd) : REAL(fsync)(fd);
}

WRAP int fdatasync(int fd)
{
	struct quire *q = file_owner(fd);

	return q ? save(q, fd) : REAL(fdatasync)(fd);
}

WRAP int sync_file_range(int fd, off_t off, off_t n, unsigned int flags)
{
	struct quire *q = file_owner(fd);

	if (q && save(q, fd))
		return -1;
	return REAL(sync_file_range)(fd, off, n, flags);
}

WRAP int syncfs(int fd)
{
	struct quire *q = gate_quire();

	if (q && save(q, -1))
		return -1;
	return REAL(syncfs)(fd);
}

WRAP void sync(void)
{
	struct quire *q = gate_quire();
	int saved = errno;

	if (q)
		save(q, -1);
	errno = saved;
	REAL(sync)();
}

/* ---- blocks ---- */

#define ZERO_BYTES ((size_t)64 << 10)

/* Zeros to [off, off+len) of fd, within the file's size. */
static int write_zeros(struct quire *q, int fd, off_t off, off_t len)
{
	static const char zeros[ZERO_BYTES];
	sigset_t saved;
	ssize_t r;

	while (len > 0) {
		struct iovec iov = { (void *)(uintptr_t)zeros,
				     (size_t)len < ZERO_BYTES ? (size_t)len : ZERO_BYTES };

		gate_enter(&saved);
		r = quire_pwritev(q, fd, &iov, 1, off);
		gate_leave(&saved);
		if (r <= 0)
			return -1;
		off += r;
		len -= r;
	}
	return 0;
}

/* Makes [off, off+len) zero in what is mapped and in the file, inside its size. */
static int zero_managed(struct quire *q, int fd, off_t off, off_t len)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	if (off >= st.st_size)
		return 0;
	if (len > st.st_size - off)
		len = st.st_size - off;
	if (write_zeros(q, fd, off, len))
		return -1;
	return save(q, fd);
}

/* The file may have grown: to its own size is how quire learns of that. */
static int notice_size(struct quire *q, int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : set_size(q, fd, st.st_size);
}

static int allocate_managed(struct quire *q, int fd, int mode, off_t off, off_t len)
{
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && off >= 0 && len > 0 &&
	    zero_managed(q, fd, off, len))
		return -1;
	if (REAL(fallocate)(fd, mode, off, len))
		return -1;
	return mode & FALLOC_FL_KEEP_SIZE ? 0 : notice_size(q, fd);
}

WRAP int fallocate(int fd, int mode, off_t off, off_t len)
{
	struct quire *q = file_owner(fd);

	return q ? allocate_managed(q, fd, mode, off, len) : REAL(fallocate)(fd, mode, off, len);
}
ALIAS(fallocate64, fallocate);

WRAP int posix_fallocate(int fd, off_t off, off_t len)
{
	struct quire *q = file_owner(fd);
	int saved = errno;
	int error = REAL(posix_fallocate)(fd, off, len);

	if (q && !error && notice_size(q, fd))
		error = errno;
	errno = saved;
	return error;
}
ALIAS(posix_fallocate64, posix_fallocate);

/* ---- copies inside the kernel ---- */

/* Returns 0 when the kernel may copy; -1 with errno `refusal` or an error. */
static int may_copy(int in, int out, int refusal)
{
	struct quire *q = gate_quire();

	if (!q)
		return 0;
	if (file_owner(out)) {
		errno = refusal;
		return -1;
	}
	q = file_owner(in);
	return q ? save(q, in) : 0;
}

WRAP ssize_t copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t n,
			     unsigned int flags)
{
	if (may_copy(in, out, EXDEV))
		return -1;
	return REAL(copy_file_range)(in, in_off, out, out_off, n, flags);
}

WRAP ssize_t sendfile(int out, int in, off_t *off, size_t n)
{
	if (may_copy(in, out, EINVAL))
		return -1;
	return REAL(sendfile)(out, in, off, n);
}
ALIAS(sendfile64, sendfile);

WRAP ssize_t splice(int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned int flags)
{
	if (may_copy(in, out, EINVAL))
		return -1;
	return REAL(splice)(in, in_off, out, out_off, n, flags);
}
