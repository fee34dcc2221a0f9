/* SPDX-License-Identifier: MIT */
/*
 * rw.c - read(2), write(2) and their relatives: see xfer.h.
 *
 * Also the names that _FORTIFY_SOURCE turns them into.
 */
#include <errno.h>

#include "run/gate.h"
#include "run/real.h"
#include "run/xfer.h"

extern void __chk_fail(void) __attribute__((noreturn));

static off_t place(const struct xfer *x, size_t done)
{
	return x->off + (off_t)done;
}

static ssize_t call_read(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	if (x->flags)
		return REAL(preadv2)(x->fd, iov, n, x->at ? place(x, done) : -1, x->flags);
	if (x->at)
		return REAL(preadv)(x->fd, iov, n, place(x, done));
	return REAL(readv)(x->fd, iov, n);
}

static ssize_t call_write(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	if (x->flags)
		return REAL(pwritev2)(x->fd, iov, n, x->at ? place(x, done) : -1, x->flags);
	if (x->at)
		return REAL(pwritev)(x->fd, iov, n, place(x, done));
	return REAL(writev)(x->fd, iov, n);
}

#define READ_XFER(...)                                                                             \
	(struct xfer)                                                                              \
	{                                                                                          \
		.what = PIN_FOR_READ, .call = call_read, __VA_ARGS__                               \
	}
#define WRITE_XFER(...)                                                                            \
	(struct xfer)                                                                              \
	{                                                                                          \
		.what = PIN_FOR_WRITE, .call = call_write, __VA_ARGS__                             \
	}

WRAP ssize_t read(int fd, void *buf, size_t n)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };
	struct xfer x = READ_XFER(.fd = fd, .iov = &iov, .n = 1);

	if (!q || !xfer_special(q, &x))
		return REAL(read)(fd, buf, n);
	return xfer_run(q, &x);
}

WRAP ssize_t write(int fd, const void *buf, size_t n)
{
	struct quire *q = gate_quire();
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct xfer x = WRITE_XFER(.fd = fd, .iov = &iov, .n = 1);

	if (!q || !xfer_special(q, &x))
		return REAL(write)(fd, buf, n);
	return xfer_run(q, &x);
}

WRAP ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };
	struct xfer x = READ_XFER(.fd = fd, .iov = &iov, .n = 1, .at = true, .off = off);

	if (!q || !xfer_special(q, &x))
		return REAL(pread)(fd, buf, n, off);
	return xfer_run(q, &x);
}
ALIAS(pread64, pread);

WRAP ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	struct quire *q = gate_quire();
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct xfer x = WRITE_XFER(.fd = fd, .iov = &iov, .n = 1, .at = true, .off = off);

	if (!q || !xfer_special(q, &x))
		return REAL(pwrite)(fd, buf, n, off);
	return xfer_run(q, &x);
}
ALIAS(pwrite64, pwrite);

WRAP ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct quire *q = gate_quire();
	struct xfer x = READ_XFER(.fd = fd, .iov = iov, .n = n);

	if (!q || !xfer_special(q, &x))
		return REAL(readv)(fd, iov, n);
	return xfer_run(q, &x);
}

WRAP ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct quire *q = gate_quire();
	struct xfer x = WRITE_XFER(.fd = fd, .iov = iov, .n = n);

	if (!q || !xfer_special(q, &x))
		return REAL(writev)(fd, iov, n);
	return xfer_run(q, &x);
}

WRAP ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	struct quire *q = gate_quire();
	struct xfer x = READ_XFER(.fd = fd, .iov = iov, .n = n, .at = true, .off = off);

	if (!q || !xfer_special(q, &x))
		return REAL(preadv)(fd, iov, n, off);
	return xfer_run(q, &x);
}
ALIAS(preadv64, preadv);

WRAP ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	struct quire *q = gate_quire();
	struct xfer x = WRITE_XFER(.fd = fd, .iov = iov, .n = n, .at = true, .off = off);

	if (!q || !xfer_special(q, &x))
		return REAL(pwritev)(fd, iov, n, off);
	return xfer_run(q, &x);
}
ALIAS(pwritev64, pwritev);

/* Offset -1 means the file position here, and only here. */
WRAP ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct quire *q = gate_quire();
	struct xfer x = READ_XFER(.fd = fd, .iov = iov, .n = n, .at = off != -1, .off = off,
				  .flags = flags);

	if (!q || !xfer_special(q, &x))
		return REAL(preadv2)(fd, iov, n, off, flags);
	return xfer_run(q, &x);
}
ALIAS(preadv64v2, preadv2);

WRAP ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct quire *q = gate_quire();
	struct xfer x = WRITE_XFER(.fd = fd, .iov = iov, .n = n, .at = off != -1, .off = off,
				   .flags = flags);

	if (!q || !xfer_special(q, &x))
		return REAL(pwritev2)(fd, iov, n, off, flags);
	return xfer_run(q, &x);
}
ALIAS(pwritev64v2, pwritev2);

ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off_t off, size_t size);

WRAP ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__chk_fail();
	return read(fd, buf, n);
}

WRAP ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size)
{
	if (n > size)
		__chk_fail();
	return pread(fd, buf, n, off);
}
ALIAS(__pread64_chk, __pread_chk);

/* ---- random bytes ---- */

static ssize_t call_random(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	size_t got = 0;

	for (int i = 0; i < n; i++) {
		ssize_t r = REAL(getrandom)(iov[i].iov_base, iov[i].iov_len, (unsigned)x->flags);

		if (r < 0)
			return got ? (ssize_t)got : -1;
		got += (size_t)r;
		if ((size_t)r < iov[i].iov_len)
			break;
	}
	return (ssize_t)got;
}

WRAP ssize_t getrandom(void *buf, size_t n, unsigned int flags)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };
	struct xfer x = { .iov = &iov,
			  .n = 1,
			  .what = PIN_FOR_READ,
			  .call = call_random,
			  .flags = (int)flags,
			  .regular = true };

	if (!q || !pin_needed(q, &iov, 1))
		return REAL(getrandom)(buf, n, flags);
	return xfer_run(q, &x);
}

WRAP int getentropy(void *buf, size_t n)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };

	if (!q || n > 256 || !pin_needed(q, &iov, 1))
		return REAL(getentropy)(buf, n);
	return getrandom(buf, n, 0) == (ssize_t)n ? 0 : -1;
}
