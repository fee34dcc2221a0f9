/* SPDX-License-Identifier: MIT */
/*
 * sock.c - send(2), recv(2) and their relatives: see xfer.h.
 *
 * Names and control data are not looked at: who keeps those in a mapped file
 * gets EFAULT. They go with the first piece of a message.
 */
#include <errno.h>
#include <limits.h>

#include "run/gate.h"
#include "run/real.h"
#include "run/xfer.h"

extern void __chk_fail(void) __attribute__((noreturn));

static ssize_t call_send(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	struct msghdr m = *x->msg;

	m.msg_iov = (struct iovec *)(uintptr_t)iov;
	m.msg_iovlen = (size_t)n;
	if (done) {
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	return REAL(sendmsg)(x->fd, &m, x->flags);
}

static ssize_t call_recv(struct xfer *x, const struct iovec *iov, int n, size_t done)
{
	struct msghdr m = *x->msg;
	ssize_t r;

	m.msg_iov = (struct iovec *)(uintptr_t)iov;
	m.msg_iovlen = (size_t)n;
	if (done) {
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	r = REAL(recvmsg)(x->fd, &m, x->flags);
	if (r < 0)
		return r;
	x->msg->msg_namelen = m.msg_namelen;
	x->msg->msg_flags = m.msg_flags;
	if (!done)
		x->msg->msg_controllen = m.msg_controllen;
	return r;
}

static struct xfer of_message(int fd, struct msghdr *m, int flags, enum pin_for what)
{
	return (struct xfer){
		.fd = fd,
		.iov = m->msg_iov,
		.n = m->msg_iovlen > IOV_MAX ? -1 : (int)m->msg_iovlen,
		.what = what,
		.flags = flags,
		.call = what == PIN_FOR_READ ? call_recv : call_send,
		.msg = m,
	};
}

WRAP ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct quire *q = gate_quire();
	struct msghdr copy;
	struct xfer x;

	if (!q || !m)
		return REAL(sendmsg)(fd, m, flags);
	copy = *m;
	x = of_message(fd, &copy, flags, PIN_FOR_WRITE);
	if (!xfer_special(q, &x))
		return REAL(sendmsg)(fd, m, flags);
	return xfer_run(q, &x);
}

WRAP ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct quire *q = gate_quire();
	struct xfer x;

	if (!q || !m)
		return REAL(recvmsg)(fd, m, flags);
	x = of_message(fd, m, flags, PIN_FOR_READ);
	if (!xfer_special(q, &x))
		return REAL(recvmsg)(fd, m, flags);
	return xfer_run(q, &x);
}

WRAP ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *name,
		    socklen_t size)
{
	struct quire *q = gate_quire();
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)name,
			    .msg_namelen = size,
			    .msg_iov = &iov,
			    .msg_iovlen = 1 };
	struct xfer x = of_message(fd, &m, flags, PIN_FOR_WRITE);

	if (!q || !xfer_special(q, &x))
		return REAL(sendto)(fd, buf, n, flags, name, size);
	return xfer_run(q, &x);
}

WRAP ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct quire *q = gate_quire();
	struct iovec iov = { (void *)(uintptr_t)buf, n };

	if (!q || !pin_needed(q, &iov, 1))
		return REAL(send)(fd, buf, n, flags);
	return sendto(fd, buf, n, flags, NULL, 0);
}

WRAP ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *name,
		      socklen_t *size)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct xfer x;
	ssize_t r;

	if (!q || !pin_needed(q, &iov, 1))
		return REAL(recvfrom)(fd, buf, n, flags, name, size);
	if (name && size) {
		m.msg_name = name;
		m.msg_namelen = *size;
	}
	x = of_message(fd, &m, flags, PIN_FOR_READ);
	if (!xfer_special(q, &x))
		return REAL(recvfrom)(fd, buf, n, flags, name, size);
	r = xfer_run(q, &x);
	if (r >= 0 && name && size)
		*size = m.msg_namelen;
	return r;
}

WRAP ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct quire *q = gate_quire();
	struct iovec iov = { buf, n };

	if (!q || !pin_needed(q, &iov, 1))
		return REAL(recv)(fd, buf, n, flags);
	return recvfrom(fd, buf, n, flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *name,
		       socklen_t *name_size);

WRAP ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

WRAP ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
			    struct sockaddr *name, socklen_t *name_size)
{
	if (n > size)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, name, name_size);
}

/* ---- several messages ---- */

static bool any_needed(struct quire *q, const struct mmsghdr *v, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct msghdr *m = &v[i].msg_hdr;

		if (m->msg_iovlen <= IOV_MAX && pin_needed(q, m->msg_iov, (int)m->msg_iovlen))
			return true;
	}
	return false;
}

/* One by one: an error counts only if it is the first message's. */
WRAP int sendmmsg(int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	struct quire *q = gate_quire();
	unsigned int i;
	ssize_t r;

	if (!q || !any_needed(q, v, n))
		return REAL(sendmmsg)(fd, v, n, flags);
	for (i = 0; i < n; i++) {
		r = sendmsg(fd, &v[i].msg_hdr, flags);
		if (r < 0)
			return i ? (int)i : -1;
		v[i].msg_len = (unsigned int)r;
	}
	return (int)i;
}

/*
 * One message: fewer than asked for is what recvmmsg() may always return, and
 * waiting for more would hold the pages of all. The timeout is the kernel's, by
 * way of a vector of one that is pinned.
 */
WRAP int recvmmsg(int fd, struct mmsghdr *v, unsigned int n, int flags, struct timespec *timeout)
{
	struct quire *q = gate_quire();
	PIN_SCOPE(held);

	if (!q || !n || !any_needed(q, v, n))
		return REAL(recvmmsg)(fd, v, n, flags, timeout);
	if (pin_all(&held, q, v[0].msg_hdr.msg_iov, (int)v[0].msg_hdr.msg_iovlen, PIN_FOR_READ))
		return -1;
	return REAL(recvmmsg)(fd, v, 1, flags, timeout);
}
