/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork(2) of a process with quires.
 *
 * Every address space is frozen around it: no fault in flight, so that no lock of
 * ours is held by a thread that the child lacks. The views are MADV_DONTFORK: in the
 * child their addresses are not mapped. The child has no pager and no I/O thread; it
 * marks the quires as not its own, and may exec or go on without them.
 */
#include <errno.h>
#include <pthread.h>

#include "api/quire.h"

static void fork_prepare(void)
{
	struct quire *q;

	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		if (!q->child)
			mm_freeze(&q->mm);
}

static void fork_parent(void)
{
	struct quire *q;

	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		if (!q->child)
			mm_thaw(&q->mm);
}

static void fork_child(void)
{
	struct quire *q;

	for (unsigned at = 0; (q = registry_next(&at)) != NULL;)
		q->child = true;
}

int fork_handlers_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static int error;

	void install(void)
	{
		error = pthread_atfork(fork_prepare, fork_parent, fork_child);
	}
	pthread_once(&once, install);
	return -error;
}
