/* SPDX-License-Identifier: MIT */
/*
 * lock.c - sleeping on words: the slow side of rt_lock, rt_wait, and RCU.
 *
 * A waiter spins for about the length of a short critical section and then
 * sleeps: waking a thread on another CPU costs 31-40 us on the development VM, a
 * critical section below 1 us.
 */
#include <linux/futex.h>
#include <sched.h>
#include <time.h>
#include <urcu-bp.h>

#include "rt/rt.h"
#include "rt/native/lock.h"
#include "rt/native/sys.h"

#define SPINS 200

void rt_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

int rt_wait(rt_u32 *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / 1000000000ull),
			       .tv_nsec = (long)(timeout_ns % 1000000000ull) };

	/* A killed native thread never returns to user space: no -EINTR. */
	sys(SYS_futex, &word->v, FUTEX_WAIT_PRIVATE, expected, timeout_ns ? &ts : NULL, NULL, 0);
	return 0;
}

void rt_wake(rt_u32 *word, unsigned n)
{
	sys(SYS_futex, &word->v, FUTEX_WAKE_PRIVATE, n > INT32_MAX ? INT32_MAX : (int)n, NULL, NULL,
	    0);
}

bool rt_killed(void)
{
	return false;
}

void rt_lock_slow(struct rt_lock *l)
{
	for (int i = 0; i < SPINS; i++) {
		if (rt_load_u32(&l->word, RT_RELAXED) == 0 && rt_trylock(l))
			return;
		rt_relax();
	}
	/* From here on we take it as "somebody sleeps": the next unlock wakes one. */
	while (__atomic_exchange_n(&l->word.v, 2, __ATOMIC_ACQUIRE) != 0)
		rt_wait(&l->word, 2, 0);
}

void rt_unlock_slow(struct rt_lock *l)
{
	rt_wake(&l->word, 1);
}

/*
 * The "bulletproof" flavour of liburcu: a thread's first read-side section
 * registers it, with every signal blocked and memory from mmap(2), so that it may
 * be the fault handler that reads first. It exits through a pthread key.
 *
 * But it restores the mask with pthread_sigmask(), which lets glibc's own signals
 * through: a thread could be cancelled inside the handler, with a folio locked. So the
 * handler registers first, and then masks again (sigbus.c; test/native/test_process.c,
 * threads_cancelled_asynchronously, found it).
 */
bool rt_native_thread_new(void)
{
	static _Thread_local bool known;

	if (known)
		return false;
	urcu_bp_register_thread();
	known = true;
	return true;
}

void rt_rcu_read_lock(void)
{
	urcu_bp_read_lock();
}

void rt_rcu_read_unlock(void)
{
	urcu_bp_read_unlock();
}

void rt_rcu_synchronize(void)
{
	urcu_bp_synchronize_rcu();
}
