/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork(2) of a process with quires.
 *
 * Every address space is frozen around it: no change and no fault that holds a lock of
 * the parent's VMAs. The views are MADV_DONTFORK: in the child their addresses are not
 * mapped. The child has no pager and no I/O thread, and locks inside the parent's
 * quires may be held for good there; so it marks them as not its own, and every call on
 * one fails. It may exec, or open a quire of its own: what all quires share (the
 * registry, the arenas, RCU) is locked around the fork and whole in the child.
 */
#include <errno.h>
#include <pthread.h>

#include "api/quire.h"
#include "rt/native/fork.h"
#include "rt/native/sigbus.h"

static pthread_mutex_t fork_mutex = PTHREAD_MUTEX_INITIALIZER;

void fork_lock(void)
{
	pthread_mutex_lock(&fork_mutex);
}

void fork_unlock(void)
{
	pthread_mutex_unlock(&fork_mutex);
}

bool is_gone(const struct quire *q, const char *call)
{
	if (q->child)
		fail(EINVAL, "%s: this address space is the parent's: a child has no access", call);
	return q->child;
}

static void fork_prepare(void)
{
	struct quire *q;

	fork_lock();

	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		if (!q->child)
			mm_freeze(&q->mm);
	rt_signal_lock();
	rt_native_fork(RT_FORK_PREPARE);
}

static void fork_parent(void)
{
	struct quire *q;

	rt_native_fork(RT_FORK_PARENT);
	rt_signal_unlock();
	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		if (!q->child)
			mm_thaw(&q->mm);
	fork_unlock();
}

static void fork_child(void)
{
	struct quire *q;

	rt_native_fork(RT_FORK_CHILD);
	rt_signal_unlock();
	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		q->child = true;
	fork_unlock();
}

static int install_error;

static void install(void)
{
	install_error = pthread_atfork(fork_prepare, fork_parent, fork_child);
}

int fork_handlers_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	return -install_error;
}
