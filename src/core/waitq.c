/* SPDX-License-Identifier: MIT */
/* waitq.c - see waitq.h. */
#include "core/waitq.h"

#include <errno.h>

#include "core/folio.h"

struct waiter {
	struct list_node link;
	const struct folio *folio;
	uint32_t bit;
	rt_u32 woken;
};

static unsigned hash_of(const struct folio *f)
{
	return (unsigned)(((uintptr_t)f >> 6) * 0x9e3779b1u >> 8) % CONFIG_WAIT_BUCKETS;
}

void waitq_init(struct waitq *q)
{
	for (unsigned i = 0; i < CONFIG_WAIT_BUCKETS; i++) {
		rt_lock_init(&q->bucket[i].lock);
		list_init(&q->bucket[i].waiters);
	}
}

int waitq_sleep(struct waitq *q, struct folio *f, uint32_t bit, bool killable)
{
	unsigned b = hash_of(f);
	struct waiter w = { .folio = f, .bit = bit };
	int err = 0;

	list_init(&w.link);
	rt_lock(&q->bucket[b].lock);
	rt_or_u32(&f->state, FOLIO_WAITERS, RT_ACQ_REL);
	if (!(rt_load_u32(&f->state, RT_ACQUIRE) & bit)) {
		/* WAITERS may stay set with nobody queued: costs one empty wake. */
		rt_unlock(&q->bucket[b].lock);
		return 0;
	}
	list_add_tail(&q->bucket[b].waiters, &w.link);
	rt_unlock(&q->bucket[b].lock);

	while (!rt_load_u32(&w.woken, RT_ACQUIRE)) {
		err = rt_wait(&w.woken, 0, 0);
		if (err && killable) {
			COVER(waitq_killed);
			break;
		}
		err = 0;
	}
	/* The waker may still be between dequeue and store: its lock orders us. */
	rt_lock(&q->bucket[b].lock);
	list_del(&w.link);
	rt_unlock(&q->bucket[b].lock);
	return err;
}

void waitq_wake(struct waitq *q, struct folio *f, uint32_t bits)
{
	unsigned b = hash_of(f);
	struct list_node *pos, *next;
	bool others = false;

	rt_lock(&q->bucket[b].lock);
	for (pos = q->bucket[b].waiters.next; pos != &q->bucket[b].waiters; pos = next) {
		struct waiter *w = list_entry(pos, struct waiter, link);
		next = pos->next;
		if (w->folio != f)
			continue;
		if (!(w->bit & bits)) {
			others = true;
			continue;
		}
		list_del(pos);
		rt_store_u32(&w->woken, 1, RT_RELEASE);
		rt_wake(&w->woken, 1);
	}
	if (!others)
		rt_and_u32(&f->state, ~FOLIO_WAITERS, RT_RELEASE);
	rt_unlock(&q->bucket[b].lock);
}
