/* SPDX-License-Identifier: MIT */
/*
 * args.c - calls that hand the kernel a structure or a path, which may be managed.
 *
 * Files hold data, so few programs pass such memory to more than read() and its kin; of
 * anonymous memory, and of what malloc() gives out, all that a call takes may be. Each
 * argument is pinned around it, as in pin.h; a call that waits holds what it fills.
 */

#include "run/gate.h"
#include "run/pin.h"
#include "run/real.h"

#define ARG(p, n)                                                                                  \
	{                                                                                          \
		(void *)(uintptr_t)(p), (n)                                                        \
	}

/* A call whose arguments are filled, or both read and filled. */
#define FILLED(name, args, ...)                                                                    \
	do {                                                                                       \
		struct iovec v__[] = { __VA_ARGS__ };                                              \
		PIN_SCOPE(held__);                                                                 \
		if (pin_args(&held__, v__, sizeof(v__) / sizeof(v__[0]), PIN_FOR_READ))            \
			return -1;                                                                 \
		return REAL(name) args;                                                            \
	} while (0)

/* One whose arguments are read. */
#define READ(name, args, ...)                                                                      \
	do {                                                                                       \
		struct iovec v__[] = { __VA_ARGS__ };                                              \
		PIN_SCOPE(held__);                                                                 \
		if (pin_args(&held__, v__, sizeof(v__) / sizeof(v__[0]), PIN_FOR_WRITE))           \
			return -1;                                                                 \
		return REAL(name) args;                                                            \
	} while (0)

/* One that takes a path, before the rest of its arguments. */
#define WITH_PATH(path)                                                                            \
	struct iovec path__;                                                                       \
	PIN_SCOPE(held_path__);                                                                    \
	if (pin_path(&held_path__, &path__, path))                                                 \
		return -1;

/* ---- waiting ---- */

WRAP int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	FILLED(poll, (fds, n, timeout), ARG(fds, n * sizeof(*fds)));
}

extern void __chk_fail(void) __attribute__((noreturn));
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);

WRAP int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

WRAP int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	size_t bytes = n > 0 ? ((size_t)n + 63) / 64 * 8 : 0;

	FILLED(select, (n, in, out, except, timeout), ARG(in, bytes), ARG(out, bytes),
	       ARG(except, bytes), ARG(timeout, sizeof(*timeout)));
}

WRAP int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	FILLED(epoll_wait, (fd, events, n, timeout),
	       ARG(events, n > 0 ? (size_t)n * sizeof(*events) : 0));
}

WRAP int epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
	READ(epoll_ctl, (fd, op, target, event), ARG(event, sizeof(*event)));
}

/* Its structures are small, and there may be none to hold them while it sleeps. */
WRAP int nanosleep(const struct timespec *t, struct timespec *left)
{
	struct timespec copy = *t, rest;
	int r = REAL(nanosleep)(&copy, &rest);

	if (r && left)
		*left = rest;
	return r;
}

/* ---- files ---- */

WRAP int stat(const char *path, struct stat *st)
{
	WITH_PATH(path)
	FILLED(stat, (path, st), ARG(st, sizeof(*st)));
}
ALIAS(stat64, stat);

WRAP int lstat(const char *path, struct stat *st)
{
	WITH_PATH(path)
	FILLED(lstat, (path, st), ARG(st, sizeof(*st)));
}
ALIAS(lstat64, lstat);

WRAP int fstat(int fd, struct stat *st)
{
	FILLED(fstat, (fd, st), ARG(st, sizeof(*st)));
}
ALIAS(fstat64, fstat);

WRAP int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	WITH_PATH(path)
	FILLED(fstatat, (dir, path, st, flags), ARG(st, sizeof(*st)));
}
ALIAS(fstatat64, fstatat);

WRAP int statfs(const char *path, struct statfs *st)
{
	WITH_PATH(path)
	FILLED(statfs, (path, st), ARG(st, sizeof(*st)));
}
ALIAS(statfs64, statfs);

WRAP int fstatfs(int fd, struct statfs *st)
{
	FILLED(fstatfs, (fd, st), ARG(st, sizeof(*st)));
}
ALIAS(fstatfs64, fstatfs);

WRAP ssize_t readlink(const char *path, char *buf, size_t n)
{
	WITH_PATH(path)
	FILLED(readlink, (path, buf, n), ARG(buf, n));
}

WRAP ssize_t readlinkat(int dir, const char *path, char *buf, size_t n)
{
	WITH_PATH(path)
	FILLED(readlinkat, (dir, path, buf, n), ARG(buf, n));
}

WRAP int access(const char *path, int mode)
{
	WITH_PATH(path)
	return REAL(access)(path, mode);
}

WRAP int faccessat(int dir, const char *path, int mode, int flags)
{
	WITH_PATH(path)
	return REAL(faccessat)(dir, path, mode, flags);
}

WRAP int unlink(const char *path)
{
	WITH_PATH(path)
	return REAL(unlink)(path);
}

WRAP int unlinkat(int dir, const char *path, int flags)
{
	WITH_PATH(path)
	return REAL(unlinkat)(dir, path, flags);
}

WRAP int rmdir(const char *path)
{
	WITH_PATH(path)
	return REAL(rmdir)(path);
}

WRAP int mkdir(const char *path, mode_t mode)
{
	WITH_PATH(path)
	return REAL(mkdir)(path, mode);
}

WRAP int mkdirat(int dir, const char *path, mode_t mode)
{
	WITH_PATH(path)
	return REAL(mkdirat)(dir, path, mode);
}

WRAP int chdir(const char *path)
{
	WITH_PATH(path)
	return REAL(chdir)(path);
}

WRAP int chmod(const char *path, mode_t mode)
{
	WITH_PATH(path)
	return REAL(chmod)(path, mode);
}

WRAP int chown(const char *path, uid_t user, gid_t group)
{
	WITH_PATH(path)
	return REAL(chown)(path, user, group);
}

/* The first path is held by its own scope. */
static int with_two(const char *from, const char *to,
		    int (*call)(int, const char *, int, const char *), int from_dir, int to_dir)
{
	struct iovec v;
	PIN_SCOPE(held);

	if (pin_path(&held, &v, from))
		return -1;
	WITH_PATH(to)
	return call(from_dir, from, to_dir, to);
}

WRAP int rename(const char *from, const char *to)
{
	return with_two(from, to, REAL(renameat), AT_FDCWD, AT_FDCWD);
}

WRAP int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return with_two(from, to, REAL(renameat), from_dir, to_dir);
}

/* ---- sockets ---- */

WRAP int bind(int fd, const struct sockaddr *name, socklen_t n)
{
	READ(bind, (fd, name, n), ARG(name, n));
}

WRAP int connect(int fd, const struct sockaddr *name, socklen_t n)
{
	READ(connect, (fd, name, n), ARG(name, n));
}

static socklen_t room(const socklen_t *n)
{
	return n ? *n : 0;
}

WRAP int accept(int fd, struct sockaddr *name, socklen_t *n)
{
	FILLED(accept, (fd, name, n), ARG(name, room(n)), ARG(n, sizeof(*n)));
}

WRAP int accept4(int fd, struct sockaddr *name, socklen_t *n, int flags)
{
	FILLED(accept4, (fd, name, n, flags), ARG(name, room(n)), ARG(n, sizeof(*n)));
}

WRAP int getsockname(int fd, struct sockaddr *name, socklen_t *n)
{
	FILLED(getsockname, (fd, name, n), ARG(name, room(n)), ARG(n, sizeof(*n)));
}

WRAP int getpeername(int fd, struct sockaddr *name, socklen_t *n)
{
	FILLED(getpeername, (fd, name, n), ARG(name, room(n)), ARG(n, sizeof(*n)));
}

WRAP int getsockopt(int fd, int level, int option, void *value, socklen_t *n)
{
	FILLED(getsockopt, (fd, level, option, value, n), ARG(value, room(n)), ARG(n, sizeof(*n)));
}

WRAP int setsockopt(int fd, int level, int option, const void *value, socklen_t n)
{
	READ(setsockopt, (fd, level, option, value, n), ARG(value, n));
}

/* ---- signals ---- */

/* The kernel writes there whenever a signal comes: it stays pinned, until the next. */
static void keep_stack(const stack_t *ss)
{
	static _Thread_local struct iovec stack;
	struct quire *q = gate_quire();
	sigset_t saved;

	if (!q)
		return;
	gate_enter(&saved);
	if (stack.iov_base)
		quire_unpin(q, stack.iov_base, stack.iov_len);
	stack.iov_base = NULL;
	if (!(ss->ss_flags & SS_DISABLE) && quire_contains(q, ss->ss_sp, ss->ss_size) &&
	    !quire_pin(q, ss->ss_sp, ss->ss_size, QUIRE_PIN_WRITE))
		stack = (struct iovec){ ss->ss_sp, ss->ss_size };
	gate_leave(&saved);
}

WRAP int sigaltstack(const stack_t *ss, stack_t *old)
{
	stack_t copy, before;
	int r;

	if (ss)
		copy = *ss;
	r = REAL(sigaltstack)(ss ? &copy : NULL, old ? &before : NULL);
	if (!r && ss)
		keep_stack(&copy);
	if (!r && old)
		*old = before;
	return r;
}
