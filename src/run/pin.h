/* SPDX-License-Identifier: MIT */
/*
 * pin.h - hold the buffers of one system call in memory while it runs.
 *
 * The kernel's own accesses do not reach quire: a system call on a page that is
 * not mapped fails with EFAULT. So the managed buffers of a call are pinned
 * around it:
 *
 *     PIN_SCOPE(held);
 *     if (pin_all(&held, q, iov, n, PIN_FOR_READ))
 *             return -1;
 *     r = REAL(readv)(fd, iov, n);        the scope's end lets go
 *
 * The scope also ends when the thread is cancelled inside the call. A signal
 * handler that jumps out of it leaves the pages pinned.
 *
 * What is too much to pin at once goes in pieces of pin_share() bytes.
 */
#ifndef QUIRE_RUN_PIN_H
#define QUIRE_RUN_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct quire;

enum pin_for {
	PIN_FOR_WRITE, /* the kernel takes the bytes: write(), send() */
	PIN_FOR_READ,  /* the kernel fills them in: read(), recv() */
};

struct pin {
	struct quire *q;
	const struct iovec *iov;
	int n; /* of iov, the managed ones among which are pinned */
};

/* pin_needed - is any of the buffers managed? */
bool pin_needed(struct quire *q, const struct iovec *iov, int n);

/*
 * pin_all - pin the managed ones of iov. iov must stay until pin_release().
 * Returns 0, or -1 with errno ENOMEM or EFAULT and nothing pinned.
 */
int pin_all(struct pin *p, struct quire *q, const struct iovec *iov, int n, enum pin_for what);

/*
 * pin_path - pin a string that the kernel will read, by way of *iov, which must
 * stay until pin_release(). Returns as pin_all(); 0 for what is not managed.
 */
int pin_path(struct pin *p, struct iovec *iov, const char *path);

/*
 * pin_args - pin the arguments of a call, those that are there, if any is managed. v must stay
 * until pin_release(). Returns as pin_all().
 */
int pin_args(struct pin *p, struct iovec *v, int n, enum pin_for what);

/* pin_release - may be called on a struct of zeros; keeps errno. */
void pin_release(struct pin *p);

/* pin_share - the most bytes that one call should pin: a part of the budget. */
size_t pin_share(void);

#define PIN_SCOPE(name) struct pin name __attribute__((cleanup(pin_release))) = { 0 }

#endif
