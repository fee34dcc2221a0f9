/* SPDX-License-Identifier: MIT */
/* pin.c - see pin.h. */
#include "run/pin.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "run/gate.h"

#define SHARE_DIVISOR 8
#define SHARE_MIN     ((size_t)64 << 10)
#define SHARE_MAX     ((size_t)8 << 20)

bool pin_needed(struct quire *q, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len && gate_managed(q, iov[i].iov_base, iov[i].iov_len))
			return true;
	}
	return false;
}

static void unpin(struct quire *q, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len)
			quire_unpin(q, iov[i].iov_base, iov[i].iov_len);
	}
}

/*
 * All elements are pinned, not only those that look managed: quire ignores what
 * is not its own, and the same elements are then unpinned whatever has been
 * mapped or unmapped meanwhile.
 */
int pin_all(struct pin *p, struct quire *q, const struct iovec *iov, int n, enum pin_for what)
{
	int flags = what == PIN_FOR_READ ? QUIRE_PIN_WRITE : 0;
	sigset_t saved;
	int error = 0;
	int i;

	gate_enter(&saved);
	for (i = 0; i < n && !error; i++) {
		if (iov[i].iov_len && quire_pin(q, iov[i].iov_base, iov[i].iov_len, flags))
			error = errno == ENOMEM ? ENOMEM : EFAULT;
	}
	if (error)
		unpin(q, iov, i - 1);
	else
		*p = (struct pin){ q, iov, n };
	gate_leave(&saved);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

int pin_path(struct pin *p, struct iovec *iov, const char *path)
{
	struct quire *q = gate_quire();

	if (!q || !path || !gate_managed(q, path, 1))
		return 0;
	*iov = (struct iovec){ (void *)(uintptr_t)path, strnlen(path, PATH_MAX - 1) + 1 };
	return pin_all(p, q, iov, 1, PIN_FOR_WRITE);
}

int pin_args(struct pin *p, struct iovec *v, int n, enum pin_for what)
{
	struct quire *q = gate_quire();

	if (!q)
		return 0;
	for (int i = 0; i < n; i++)
		if (!v[i].iov_base)
			v[i].iov_len = 0;
	return pin_needed(q, v, n) ? pin_all(p, q, v, n, what) : 0;
}

void pin_release(struct pin *p)
{
	sigset_t saved;

	if (!p->q)
		return;
	gate_enter(&saved);
	unpin(p->q, p->iov, p->n);
	gate_leave(&saved);
	p->q = NULL;
}

size_t pin_share(void)
{
	size_t share = gate_config.memory / SHARE_DIVISOR;

	if (share < SHARE_MIN)
		return SHARE_MIN;
	if (share > SHARE_MAX)
		return SHARE_MAX;
	return share & ~(SHARE_MIN - 1);
}
