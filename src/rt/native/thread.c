/* SPDX-License-Identifier: MIT */
/* thread.c - threads of the machine's own, and the clock. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "rt/rt.h"
#include "rt/native/lock.h"
#include "rt/native/sys.h"

static void *thread_main(void *p)
{
	struct rt_thread *t = p;

	pthread_setname_np(pthread_self(), t->name);
	/* What a new thread maps for itself (RCU's registry, thread-local storage) it maps
	 * before the program goes on: not into a hole that the program makes later. */
	rt_native_thread_new();
	rt_store_u32(&t->ready, 1, RT_RELEASE);
	rt_wake(&t->ready, 1);
	t->fn(t->arg);
	return NULL;
}

int rt_thread_start(struct rt_thread *t, void (*fn)(void *), void *arg, const char *name)
{
	pthread_attr_t attr;
	pthread_t handle;
	sigset_t all, old;

	rt_store_u32(&t->ready, 0, RT_RELAXED);
	t->fn = fn;
	t->arg = arg;
	strncpy(t->name, name, sizeof(t->name) - 1);
	t->name[sizeof(t->name) - 1] = '\0';
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	/* The program's signals are for the program's threads. */
	sigfillset(&all);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8L);
	int err = pthread_create(&handle, &attr, thread_main, t);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8L);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	t->handle = (unsigned long)handle;
	while (!rt_load_u32(&t->ready, RT_ACQUIRE))
		rt_wait(&t->ready, 0, 0);
	return 0;
}

void rt_thread_join(struct rt_thread *t)
{
	pthread_join((pthread_t)t->handle, NULL);
}

uint64_t rt_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* the vDSO: async-signal-safe */
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
