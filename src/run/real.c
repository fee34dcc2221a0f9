/* SPDX-License-Identifier: MIT */
/* real.c - see real.h. */
#include "run/real.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>

static void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

static int raw_munmap(void *addr, size_t len)
{
	return (int)syscall(SYS_munmap, addr, len);
}

static int raw_mprotect(void *addr, size_t len, int prot)
{
	return (int)syscall(SYS_mprotect, addr, len, prot);
}

static void *raw_mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL;
	va_list ap;

	if (flags & MREMAP_FIXED) {
		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, to);
}

static int raw_madvise(void *addr, size_t len, int advice)
{
	return (int)syscall(SYS_madvise, addr, len, advice);
}

static int raw_msync(void *addr, size_t len, int flags)
{
	return (int)syscall(SYS_msync, addr, len, flags);
}

static int raw_mincore(void *addr, size_t len, unsigned char *vec)
{
	return (int)syscall(SYS_mincore, addr, len, vec);
}

static ssize_t raw_read(int fd, void *buf, size_t n)
{
	return syscall(SYS_read, fd, buf, n);
}

static ssize_t raw_write(int fd, const void *buf, size_t n)
{
	return syscall(SYS_write, fd, buf, n);
}

static ssize_t raw_pread(int fd, void *buf, size_t n, off_t off)
{
	return syscall(SYS_pread64, fd, buf, n, off);
}

static ssize_t raw_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return syscall(SYS_pwrite64, fd, buf, n, off);
}

static ssize_t raw_readv(int fd, const struct iovec *iov, int n)
{
	return syscall(SYS_readv, fd, iov, n);
}

static ssize_t raw_writev(int fd, const struct iovec *iov, int n)
{
	return syscall(SYS_writev, fd, iov, n);
}

/* The last argument is the offset's high half, which 64-bit kernels ignore. */
static ssize_t raw_preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return syscall(SYS_preadv, fd, iov, n, off, 0);
}

static ssize_t raw_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return syscall(SYS_pwritev, fd, iov, n, off, 0);
}

static int raw_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (__OPEN_NEEDS_MODE(flags)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

static int raw_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (__OPEN_NEEDS_MODE(flags)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int raw_ftruncate(int fd, off_t length)
{
	return (int)syscall(SYS_ftruncate, fd, length);
}

static ssize_t raw_getrandom(void *buf, size_t n, unsigned int flags)
{
	return syscall(SYS_getrandom, buf, n, flags);
}

static void __attribute__((noreturn)) raw__exit(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

struct real real = {
#define REAL_RAW(name) .name = raw_##name,
	REAL_EARLY(REAL_RAW)
#undef REAL_RAW
};

void *real_find(const char *name, void **slot)
{
	void *found = dlsym(RTLD_NEXT, name);

	/* A libc that has no such function has no caller of it either. */
	if (!found)
		abort();
	*slot = found;
	return found;
}

void real_init(void)
{
#define REAL_NEXT(name) real_find(#name, (void **)&real.name);
	REAL_EARLY(REAL_NEXT)
#undef REAL_NEXT
}
