/* SPDX-License-Identifier: MIT */
/* mask.c - see mask.h. */
#include "run/mask.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "run/gate.h"
#include "run/pin.h"
#include "run/real.h"

/* Does this thread believe that it blocks SIGBUS? */
static _Thread_local bool blocked;

/* Signals whose handler was installed with SIGBUS in its sa_mask. */
static atomic_bool in_sa_mask[NSIG];

/* set without SIGBUS, in *copy; NULL stays NULL. */
static const sigset_t *without(const sigset_t *set, sigset_t *copy)
{
	if (!set || !gate_config.active)
		return set;
	*copy = *set;
	sigdelset(copy, SIGBUS);
	return copy;
}

static void remember(int how, bool named)
{
	if (how == SIG_BLOCK)
		blocked |= named;
	else if (how == SIG_UNBLOCK)
		blocked &= !named;
	else
		blocked = named;
}

typedef int (*mask_fn)(int how, const sigset_t *set, sigset_t *old);

/* Both flavours: 0 is success in either. */
static int change(mask_fn fn, int how, const sigset_t *set, sigset_t *old)
{
	bool before = blocked;
	sigset_t copy;
	bool named = set && sigismember(set, SIGBUS) == 1;
	int r = fn(how, without(set, &copy), old);

	if (r || !gate_config.active)
		return r;
	if (set)
		remember(how, named);
	if (old && before)
		sigaddset(old, SIGBUS);
	return r;
}

WRAP int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return change(REAL(sigprocmask), how, set, old);
}

WRAP int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change(REAL(pthread_sigmask), how, set, old);
}

/* The two BSD calls have masks of 32 signals; bit n-1 is signal n. */
static int change_word(int how, int word)
{
	sigset_t set, old;
	int before = 0;

	sigemptyset(&set);
	for (int sig = 1; sig < 32; sig++) {
		if ((unsigned)word >> (sig - 1) & 1)
			sigaddset(&set, sig);
	}
	if (sigprocmask(how, &set, &old))
		return -1;
	for (int sig = 1; sig < 32; sig++) {
		if (sigismember(&old, sig) == 1)
			before |= 1 << (sig - 1);
	}
	return before;
}

WRAP int sigblock(int word)
{
	return change_word(SIG_BLOCK, word);
}

WRAP int sigsetmask(int word)
{
	return change_word(SIG_SETMASK, word);
}

static int change_one(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	if (sigaddset(&set, sig))
		return -1;
	return sigprocmask(how, &set, NULL);
}

WRAP int sighold(int sig)
{
	return change_one(SIG_BLOCK, sig);
}

WRAP int sigrelse(int sig)
{
	return change_one(SIG_UNBLOCK, sig);
}

/* A thread inherits its creator's mask, and so the bit. */
struct start {
	void *(*fn)(void *);
	void *arg;
};

static void *start_blocked(void *p)
{
	struct start s = *(struct start *)p;

	free(p);
	blocked = true;
	return s.fn(s.arg);
}

WRAP int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			void *arg)
{
	struct start *s;
	int r;

	if (!blocked)
		return REAL(pthread_create)(thread, attr, fn, arg);
	s = malloc(sizeof(*s));
	if (!s)
		return EAGAIN;
	*s = (struct start){ fn, arg };
	r = REAL(pthread_create)(thread, attr, start_blocked, s);
	if (r)
		free(s);
	return r;
}

WRAP int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t copy;

	return REAL(pthread_attr_setsigmask_np)(attr, without(set, &copy));
}

/* SIGBUS's action belongs to libquire, which keeps the program's and calls it. */
static int set_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	if (sig == SIGBUS)
		return quire_sigaction(sig, act, old);
	return REAL(sigaction)(sig, act, old);
}

WRAP int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction copy;
	bool named, before;

	if (!gate_config.active || gate_inside || sig < 1 || sig >= NSIG)
		return REAL(sigaction)(sig, act, old);
	before = atomic_load(&in_sa_mask[sig]);
	if (act) {
		copy = *act;
		named = sigismember(&copy.sa_mask, SIGBUS) == 1;
		sigdelset(&copy.sa_mask, SIGBUS);
	}
	if (set_action(sig, act ? &copy : NULL, old))
		return -1;
	if (act)
		atomic_store(&in_sa_mask[sig], named);
	if (old && before)
		sigaddset(&old->sa_mask, SIGBUS);
	return 0;
}

static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };
	struct sigaction old;

	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&act.sa_mask);
	if (!(flags & SA_NODEFER))
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

/* Only SIGBUS needs us: the others have no mask to strip. */
WRAP sighandler_t signal(int sig, sighandler_t handler)
{
	if (sig != SIGBUS)
		return REAL(signal)(sig, handler);
	return set_handler(sig, handler, SA_RESTART);
}
ALIAS(ssignal, signal);
sighandler_t bsd_signal(int sig, sighandler_t handler);
ALIAS(bsd_signal, signal);

WRAP sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	if (sig != SIGBUS)
		return REAL(sysv_signal)(sig, handler);
	return set_handler(sig, handler, SA_RESETHAND | SA_NODEFER);
}
ALIAS(__sysv_signal, sysv_signal);

WRAP sighandler_t sigset(int sig, sighandler_t handler)
{
	struct sigaction old;
	sigset_t one, mask;
	sighandler_t before;

	sigemptyset(&one);
	if (sigaddset(&one, sig))
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &one, &mask) || sigaction(sig, NULL, &old))
			return SIG_ERR;
		return sigismember(&mask, sig) == 1 ? SIG_HOLD : old.sa_handler;
	}
	before = set_handler(sig, handler, SA_NODEFER);
	if (before == SIG_ERR || sigprocmask(SIG_UNBLOCK, &one, &mask))
		return SIG_ERR;
	return sigismember(&mask, sig) == 1 ? SIG_HOLD : before;
}

WRAP int signalfd(int fd, const sigset_t *mask, int flags)
{
	sigset_t copy;

	return REAL(signalfd)(fd, without(mask, &copy), flags);
}

/* Waiting for a set would take SIGBUS away from the handler. */
WRAP int sigwait(const sigset_t *set, int *sig)
{
	sigset_t copy;

	return REAL(sigwait)(without(set, &copy), sig);
}

WRAP int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	sigset_t copy;

	return REAL(sigwaitinfo)(without(set, &copy), info);
}

WRAP int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	sigset_t copy;

	return REAL(sigtimedwait)(without(set, &copy), info, timeout);
}

WRAP int sigsuspend(const sigset_t *set)
{
	sigset_t copy;

	return REAL(sigsuspend)(without(set, &copy));
}

WRAP int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set)
{
	struct iovec v = { fds, n * sizeof(*fds) };
	sigset_t copy;
	PIN_SCOPE(held);

	if (pin_args(&held, &v, 1, PIN_FOR_READ))
		return -1;
	return REAL(ppoll)(fds, n, timeout, without(set, &copy));
}

extern void __chk_fail(void) __attribute__((noreturn));
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set,
		size_t size);

WRAP int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		     const sigset_t *set, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, set);
}

WRAP int pselect(int n, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout,
		 const sigset_t *set)
{
	sigset_t copy;

	return REAL(pselect)(n, in, out, except, timeout, without(set, &copy));
}

WRAP int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
	struct iovec v = { events, n > 0 ? (size_t)n * sizeof(*events) : 0 };
	sigset_t copy;
	PIN_SCOPE(held);

	if (pin_args(&held, &v, 1, PIN_FOR_READ))
		return -1;
	return REAL(epoll_pwait)(fd, events, n, timeout, without(set, &copy));
}

WRAP int epoll_pwait2(int fd, struct epoll_event *events, int n, const struct timespec *timeout,
		      const sigset_t *set)
{
	struct iovec v = { events, n > 0 ? (size_t)n * sizeof(*events) : 0 };
	sigset_t copy;
	PIN_SCOPE(held);

	if (pin_args(&held, &v, 1, PIN_FOR_READ))
		return -1;
	return REAL(epoll_pwait2)(fd, events, n, timeout, without(set, &copy));
}

static void change_bus(int how, sigset_t *old)
{
	sigset_t bus;
	int saved = errno;

	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	REAL(pthread_sigmask)(how, &bus, old);
	errno = saved;
}

void mask_hand_on(void)
{
	if (blocked)
		change_bus(SIG_BLOCK, NULL);
}

void mask_take_back(void)
{
	if (blocked)
		change_bus(SIG_UNBLOCK, NULL);
}

void mask_start(void)
{
	sigset_t old;

	change_bus(SIG_UNBLOCK, &old);
	blocked = sigismember(&old, SIGBUS) == 1;
}
