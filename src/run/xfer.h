/* SPDX-License-Identifier: MIT */
/*
 * xfer.h - one read or write, whatever call it came from, on managed memory or
 * on a file that is managed.
 *
 *     struct xfer x = { .fd = fd, .iov = iov, .n = n, .call = ..., ... };
 *     if (!xfer_special(q, &x))
 *             return REAL(readv)(fd, iov, n);
 *     return xfer_run(q, &x);
 *
 * Two things may be special, and both together:
 *   managed buffers  pinned around the call, in pieces when they are large;
 *   a managed file   the call goes to quire_preadv() or quire_pwritev(), which
 *                    see what the mappings hold.
 *
 * In pieces: after a whole piece the next one follows, for writes and for files.
 * A read of a pipe or socket ends after one piece: the next might wait for data
 * that never comes. Datagrams are one piece always.
 * A range that can only be held in part (it ends past the end of its file) gives
 * a short count, and EFAULT when nothing of it can be held: as the kernel does.
 */
#ifndef QUIRE_RUN_XFER_H
#define QUIRE_RUN_XFER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "run/pin.h"

struct quire;
struct xfer;

/* Moves up to the bytes of iov; done: bytes of x that were moved before. */
typedef ssize_t (*xfer_fn)(struct xfer *x, const struct iovec *iov, int n, size_t done);

struct xfer {
	int fd;
	const struct iovec *iov;
	int n;
	enum pin_for what;
	bool at; /* at offset off, else at the file position */
	off_t off;
	int flags;          /* RWF_* or MSG_* */
	xfer_fn call;       /* what to do with a piece */
	struct msghdr *msg; /* sockets: names and control data */

	/* xfer_special() fills these in. */
	bool managed; /* a buffer is */
	bool file;    /* the file is */
	bool regular; /* fd is of a file: a read never waits for more data */
	bool whole;   /* a datagram: one piece */
};

bool xfer_special(struct quire *q, struct xfer *x);
ssize_t xfer_run(struct quire *q, struct xfer *x);

/* fd_managed - is fd of a file that was ever taken over? Keeps errno. */
bool fd_managed(int fd, bool *regular);

#endif
