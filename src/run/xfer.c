/* SPDX-License-Identifier: MIT */
/* xfer.c - see xfer.h. */
#include "run/xfer.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

#include "run/fileset.h"
#include "run/gate.h"
#include "run/real.h"

/* Elements of one piece; on the stack of a thread that may have little. */
#define PIECE_VECS 32

/* A call that waits must not keep much of the budget from the others. */
#define WAITING_SHARE ((size_t)64 << 10)

bool fd_managed(int fd, bool *regular)
{
	struct stat st;
	int saved = errno;
	bool known = false;

	*regular = false;
	if (!fstat(fd, &st)) {
		*regular = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
		known = S_ISREG(st.st_mode) && fileset_has(&st);
	}
	errno = saved;
	return known;
}

static bool is_datagram(int fd)
{
	int type = 0, saved = errno;
	socklen_t size = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size))
		type = SOCK_STREAM;
	errno = saved;
	return type != SOCK_STREAM;
}

bool xfer_special(struct quire *q, struct xfer *x)
{
	/* Counts and offsets that are wrong are the kernel's to refuse. */
	if (x->n < 0 || x->n > IOV_MAX || (x->at && x->off < 0))
		return false;
	x->managed = pin_needed(q, x->iov, x->n);
	if (x->msg)
		x->whole = x->managed && is_datagram(x->fd);
	else
		x->file = fd_managed(x->fd, &x->regular);
	return x->managed || x->file;
}

/* A piece to or from a managed file. */
static ssize_t call_file(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	off_t off = x->at ? x->off + (off_t)done : -1;
	struct quire *q = gate_quire();
	sigset_t saved;
	ssize_t r;

	gate_enter(&saved);
	if (x->what == PIN_FOR_READ)
		r = quire_preadv(q, x->fd, iov, n, off);
	else
		r = quire_pwritev(q, x->fd, iov, n, off);
	if (r >= 0 && (x->flags & (RWF_DSYNC | RWF_SYNC)) && quire_fsync(q, x->fd))
		r = -1;
	gate_leave(&saved);
	return r;
}

/* The elements of [done, done+limit) of x; returns their number and bytes. */
static int cut(const struct xfer *x, size_t done, size_t limit, struct iovec *out, size_t *bytes)
{
	int n = 0;

	*bytes = 0;
	for (int i = 0; i < x->n && n < PIECE_VECS && *bytes < limit; i++) {
		size_t len = x->iov[i].iov_len;

		if (done >= len) {
			done -= len;
			continue;
		}
		out[n].iov_base = (char *)x->iov[i].iov_base + done;
		len -= done;
		done = 0;
		out[n].iov_len = len < limit - *bytes ? len : limit - *bytes;
		*bytes += out[n++].iov_len;
	}
	return n;
}

/* One piece at `done`, smaller if it cannot be held; *want: what it asked for. */
static ssize_t run_piece(struct quire *q, struct xfer *x, size_t done, size_t limit, size_t *want)
{
	struct iovec part[PIECE_VECS];
	PIN_SCOPE(held);
	int n;

	for (;;) {
		n = cut(x, done, limit, part, want);
		if (!pin_all(&held, q, part, n, x->what))
			return x->call(x, part, n, done);
		if (*want <= 1)
			return -1;
		/* Down to a byte: the last page may be good up to its edge. */
		limit = *want / 2;
	}
}

static ssize_t run_whole(struct quire *q, struct xfer *x)
{
	PIN_SCOPE(held);

	if (pin_all(&held, q, x->iov, x->n, x->what))
		return -1;
	return x->call(x, x->iov, x->n, 0);
}

static size_t total_of(const struct xfer *x)
{
	size_t total = 0;

	for (int i = 0; i < x->n; i++)
		total += x->iov[i].iov_len;
	return total;
}

static bool goes_on(const struct xfer *x)
{
	return x->what == PIN_FOR_WRITE || x->regular || (x->msg && x->flags & MSG_WAITALL);
}

static ssize_t run_pieces(struct quire *q, struct xfer *x)
{
	size_t total = total_of(x);
	size_t limit = x->regular ? pin_share() : WAITING_SHARE;
	size_t done = 0, want;
	int saved = errno;
	ssize_t r;

	do {
		r = run_piece(q, x, done, limit, &want);
		if (r < 0)
			break;
		done += (size_t)r;
	} while (done < total && (size_t)r == want && goes_on(x));
	if (!done && r < 0)
		return -1;
	errno = saved;
	return (ssize_t)done;
}

/* Buffers that are not managed need no pieces. */
static ssize_t run_file(struct quire *q, struct xfer *x)
{
	if (x->flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	x->call = call_file;
	return x->managed ? run_pieces(q, x) : call_file(x, x->iov, x->n, 0);
}

ssize_t xfer_run(struct quire *q, struct xfer *x)
{
	if (x->file)
		return run_file(q, x);
	if (x->whole)
		return run_whole(q, x);
	return run_pieces(q, x);
}
