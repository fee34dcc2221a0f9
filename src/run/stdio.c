/* SPDX-License-Identifier: MIT */
/*
 * stdio.c - the streams' calls that move large blocks.
 *
 * For a block that is larger than a stream's buffer, libc hands the program's
 * own memory to the kernel; what is smaller it copies, in user mode, where
 * faults are served. So only the block calls are wrapped. They go in pieces of
 * pin_share() bytes with the stream locked throughout.
 *
 * A stream reads its file behind our back. When that file is mapped too, what
 * the mapping holds is written back first. The other way does not work: what a
 * stream writes to a mapped file reaches the mapping only when the page is read
 * in again (libquire(7)).
 */
#include <errno.h>
#include <string.h>

#include "run/gate.h"
#include "run/real.h"
#include "run/xfer.h"

/* libc has them as macros too. */
#undef fread_unlocked
#undef fwrite_unlocked

extern void __chk_fail(void) __attribute__((noreturn));

typedef size_t (*block_fn)(void *p, size_t size, size_t n, FILE *f);

static size_t write_block(void *p, size_t size, size_t n, FILE *f)
{
	return REAL(fwrite_unlocked)(p, size, n, f);
}

static size_t read_block(void *p, size_t size, size_t n, FILE *f)
{
	return REAL(fread_unlocked)(p, size, n, f);
}

/* Bytes moved. Needs: f locked, if it is to be. */
static size_t in_pieces(struct quire *q, char *p, size_t bytes, FILE *f, block_fn fn,
			enum pin_for what)
{
	size_t share = pin_share();
	size_t done = 0, got;

	while (done < bytes) {
		struct iovec part = { p + done, bytes - done < share ? bytes - done : share };
		PIN_SCOPE(held);

		if (pin_all(&held, q, &part, 1, what)) {
			if (share > 4096) {
				share /= 2;
				continue;
			}
			/* Streams have no other way to say it. */
			f->_flags |= _IO_ERR_SEEN;
			break;
		}
		got = fn(part.iov_base, 1, part.iov_len, f);
		done += got;
		if (got < part.iov_len)
			break;
	}
	return done;
}

/* Would f go to its file for this many bytes, and is that file managed? */
static bool reads_managed_file(FILE *f, size_t bytes)
{
	bool regular;
	int fd;

	if ((size_t)(f->_IO_read_end - f->_IO_read_ptr) >= bytes)
		return false;
	fd = fileno_unlocked(f);
	return fd >= 0 && fd_managed(fd, &regular);
}

static void write_back(struct quire *q, int fd)
{
	int error = errno;
	sigset_t saved;

	/* A failure stays with the pages: msync() and fsync() will report it. */
	gate_enter(&saved);
	quire_fsync(q, fd);
	gate_leave(&saved);
	errno = error;
}

static size_t move(struct quire *q, void *p, size_t size, size_t n, FILE *f, enum pin_for what,
		   bool lock)
{
	block_fn fn = what == PIN_FOR_READ ? read_block : write_block;
	size_t r, bytes;

	if (!size || !n || __builtin_mul_overflow(size, n, &bytes))
		return fn(p, size, n, f);
	if (lock)
		flockfile(f);
	if (what == PIN_FOR_READ && reads_managed_file(f, bytes))
		write_back(q, fileno_unlocked(f));
	if (gate_managed(q, p, bytes))
		r = in_pieces(q, p, bytes, f, fn, what) / size;
	else
		r = fn(p, size, n, f);
	if (lock)
		funlockfile(f);
	return r;
}

WRAP size_t fread(void *p, size_t size, size_t n, FILE *f)
{
	struct quire *q = gate_quire();

	return q ? move(q, p, size, n, f, PIN_FOR_READ, true) : REAL(fread)(p, size, n, f);
}

WRAP size_t fread_unlocked(void *p, size_t size, size_t n, FILE *f)
{
	struct quire *q = gate_quire();

	return q ? move(q, p, size, n, f, PIN_FOR_READ, false)
		 : REAL(fread_unlocked)(p, size, n, f);
}

WRAP size_t fwrite(const void *p, size_t size, size_t n, FILE *f)
{
	struct quire *q = gate_quire();

	if (!q)
		return REAL(fwrite)(p, size, n, f);
	return move(q, (void *)(uintptr_t)p, size, n, f, PIN_FOR_WRITE, true);
}

WRAP size_t fwrite_unlocked(const void *p, size_t size, size_t n, FILE *f)
{
	struct quire *q = gate_quire();

	if (!q)
		return REAL(fwrite_unlocked)(p, size, n, f);
	return move(q, (void *)(uintptr_t)p, size, n, f, PIN_FOR_WRITE, false);
}

size_t __fread_chk(void *p, size_t room, size_t size, size_t n, FILE *f);
size_t __fread_unlocked_chk(void *p, size_t room, size_t size, size_t n, FILE *f);

static void check_room(size_t room, size_t size, size_t n)
{
	size_t bytes;

	if (__builtin_mul_overflow(size, n, &bytes) || bytes > room)
		__chk_fail();
}

WRAP size_t __fread_chk(void *p, size_t room, size_t size, size_t n, FILE *f)
{
	check_room(room, size, n);
	return fread(p, size, n, f);
}

WRAP size_t __fread_unlocked_chk(void *p, size_t room, size_t size, size_t n, FILE *f)
{
	check_room(room, size, n);
	return fread_unlocked(p, size, n, f);
}

/* ---- strings ---- */

WRAP int fputs(const char *s, FILE *f)
{
	struct quire *q = gate_quire();
	size_t n;

	if (!q || !gate_managed(q, s, 1))
		return REAL(fputs)(s, f);
	n = strlen(s);
	return fwrite(s, 1, n, f) == n ? 1 : EOF;
}

WRAP int fputs_unlocked(const char *s, FILE *f)
{
	struct quire *q = gate_quire();
	size_t n;

	if (!q || !gate_managed(q, s, 1))
		return REAL(fputs_unlocked)(s, f);
	n = strlen(s);
	return fwrite_unlocked(s, 1, n, f) == n ? 1 : EOF;
}

WRAP int puts(const char *s)
{
	struct quire *q = gate_quire();
	int r = EOF;

	if (!q || !gate_managed(q, s, 1))
		return REAL(puts)(s);
	flockfile(stdout);
	if (fputs_unlocked(s, stdout) != EOF && putc_unlocked('\n', stdout) != EOF)
		r = 1;
	funlockfile(stdout);
	return r;
}
