/* SPDX-License-Identifier: MIT */
/*
 * sigbus.c - see sigbus.h.
 *
 * The handler runs with every signal blocked (a nested handler that touched
 * managed memory would wait for locks its own thread holds) but SIGBUS, which is
 * SA_NODEFER: a blocked SIGBUS at a fault kills the process. It calls
 * neither malloc nor stdio (memory comes from the arenas, by system calls), and saves
 * errno.
 *
 * The program's action is kept in two slots, of which `current` is the one in
 * force, so that a handler that runs meanwhile reads a whole one.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "rt/rt.h"
#include "rt/native/lock.h"
#include "rt/native/sigbus.h"
#include "rt/native/sys.h"

/* `quire run` interposes sigaction and pthread_sigmask; these are glibc's own. */
extern int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* Every signal there is: sigfillset() spares the two that glibc cancels threads with,
 * and a thread must not be cancelled with our locks held. SIGBUS stays deliverable. */
static void fill_mask(sigset_t *set)
{
	memset(set, 0xff, sizeof(*set));
	sigdelset(set, SIGBUS);
}

static void set_mask(const sigset_t *set, sigset_t *old)
{
	sys(SYS_rt_sigprocmask, SIG_SETMASK, set, old, 8L);
}

static rt_fault_fn fault_fn;
static struct sigaction slots[2];
static rt_u32 current;
static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

static bool fault_was_write(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return uc->uc_mcontext.gregs[REG_ERR] & 2;
#elif defined(__aarch64__)
	/* The records after the registers; the one with ESR has WnR in bit 6. */
	const char *p = (const char *)uc->uc_mcontext.__reserved;

	for (;;) {
		uint32_t magic, size;
		uint64_t esr;

		memcpy(&magic, p, 4);
		memcpy(&size, p + 4, 4);
		if (magic == 0 || size == 0)
			return true;
		if (magic == 0x45535201) {
			memcpy(&esr, p + 8, 8);
			return esr & (1u << 6);
		}
		p += size;
	}
#else
#error "which access faulted: not known on this machine"
#endif
}

/* The default action is to die where we were: the access runs again without us. */
static void deliver_default(int sig, const siginfo_t *info)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	__sigaction(sig, &dfl, NULL);
	if (info->si_code <= 0)
		raise(sig); /* sent, not faulted: it would not come again by itself */
}

static void deliver(int sig, siginfo_t *info, void *context)
{
	struct sigaction act = slots[rt_load_u32(&current, RT_ACQUIRE)];
	ucontext_t *uc = context;
	sigset_t mask = uc->uc_sigmask, all;

	if (act.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	/* The kernel does not let a fault be ignored either. */
	if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN) {
		deliver_default(sig, info);
		return;
	}
	if (act.sa_flags & SA_RESETHAND) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };
		rt_signal_action(&dfl, NULL);
	}
	sigorset(&mask, &mask, &act.sa_mask);
	if (!(act.sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	/* Never really blocked: its own handler may touch managed memory. */
	sigdelset(&mask, SIGBUS);
	fill_mask(&all);
	set_mask(&mask, NULL);
	if (act.sa_flags & SA_SIGINFO)
		act.sa_sigaction(sig, info, context);
	else
		act.sa_handler(sig);
	set_mask(&all, NULL);
}

static void rt_sigbus_entry(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	sigset_t all;

	if (rt_native_thread_new()) {
		fill_mask(&all);
		set_mask(&all, NULL);
	}
	/* Sent by a process, not by a fault: never ours. */
	if (info->si_code <= 0 ||
	    fault_fn((uintptr_t)info->si_addr, fault_was_write(context)) != RT_FAULT_DONE)
		deliver(sig, info, context);
	errno = saved;
}

int rt_signal_open(rt_fault_fn fault)
{
	struct sigaction act = { .sa_sigaction = rt_sigbus_entry,
				 .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART };
	sigset_t bus;
	int err = 0;

	pthread_mutex_lock(&slots_mutex);
	if (!installed) {
		fault_fn = fault;
		fill_mask(&act.sa_mask);
		if (__sigaction(SIGBUS, &act, &slots[0]) != 0)
			err = -errno;
		else
			installed = true;
	}
	pthread_mutex_unlock(&slots_mutex);
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &bus, NULL, 8L);
	return err;
}

void rt_signal_lock(void)
{
	pthread_mutex_lock(&slots_mutex);
}

void rt_signal_unlock(void)
{
	pthread_mutex_unlock(&slots_mutex);
}

int rt_signal_action(const struct sigaction *act, struct sigaction *old)
{
	sigset_t all, before;

	/* Not with a handler of this thread in between: it may call us again. */
	fill_mask(&all);
	set_mask(&all, &before);
	pthread_mutex_lock(&slots_mutex);
	int err = 0;
	if (!installed) {
		err = __sigaction(SIGBUS, act, old) != 0 ? -errno : 0;
	} else {
		uint32_t now = rt_load_u32(&current, RT_RELAXED);
		if (old)
			*old = slots[now];
		if (act) {
			slots[!now] = *act;
			rt_store_u32(&current, !now, RT_RELEASE);
		}
	}
	pthread_mutex_unlock(&slots_mutex);
	set_mask(&before, NULL);
	return err;
}
