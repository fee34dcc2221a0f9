/* SPDX-License-Identifier: MIT */
/*
 * waitq.h - hashed queues of threads that wait for a bit of a folio.
 *
 * A sleeper is queued in the bucket of the folio's address and sleeps on a flag of
 * its own, on its own stack; a waker takes it off the queue first. The order that
 * loses no wake-up (fault-path.md, WAKE):
 *     waiter: bucket lock; set FOLIO_WAITERS; test the bit; enqueue; unlock; sleep
 *     waker:  clear the bit; saw FOLIO_WAITERS? bucket lock; dequeue; wake
 * After the enqueue a waiter never looks at the folio again, so it needs no
 * reference to it.
 */
#ifndef CORE_WAITQ_H
#define CORE_WAITQ_H

#include "base/list.h"
#include "core/config.h"
#include "rt/rt.h"

struct folio;

struct waitq {
	struct {
		struct rt_lock lock;
		struct list_node waiters; /* (lock) */
	} bucket[CONFIG_WAIT_BUCKETS];
};

void waitq_init(struct waitq *q);
/* waitq_sleep - until `bit` of f was cleared once after the call began.
 * Returns 0; -EINTR when killable and the thread was killed. Sleeps. */
int waitq_sleep(struct waitq *q, struct folio *f, uint32_t bit, bool killable);
/* waitq_wake - wake all that wait for any of `bits` of f, which were just cleared. */
void waitq_wake(struct waitq *q, struct folio *f, uint32_t bits);

#endif
