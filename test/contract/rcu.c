/* SPDX-License-Identifier: MIT */
/* rcu.c - synchronize waits for every section that was open when it began. */
#include "contract.h"

#define GONE 0xdeadull

struct section {
	rt_u32 open, unlinked, left;
	unsigned depth;
};

static void read_for_long(void *arg)
{
	struct section *s = arg;

	for (unsigned i = 0; i < s->depth; i++)
		rt_rcu_read_lock();
	rt_store_u32(&s->open, 1, RT_RELEASE);
	until(&s->unlinked, 1);
	for (unsigned i = 1; i < s->depth; i++)
		rt_rcu_read_unlock();
	for (unsigned i = 0; i < driver_rounds(20000); i++)
		rt_relax();
	rt_store_u32(&s->left, 1, RT_RELEASE);
	rt_rcu_read_unlock();
}

static void wait_for_reader(unsigned depth)
{
	struct section s = { .depth = depth };
	struct rt_thread t;

	thread_begin(&t, read_for_long, &s);
	until(&s.open, 1);
	rt_store_u32(&s.unlinked, 1, RT_RELEASE);
	rt_rcu_synchronize();
	CHECK_IS(rt_load_u32(&s.left, RT_ACQUIRE), 1);
	rt_thread_join(&t);
}

static void synchronize_waits_for_an_open_section(void)
{
	wait_for_reader(1);
}

static void a_section_ends_with_its_outermost_unlock(void)
{
	wait_for_reader(3);
}

static void without_readers_it_does_not_wait(void)
{
	rt_rcu_synchronize();
	rt_rcu_read_lock();
	rt_rcu_read_lock();
	rt_rcu_read_unlock();
	rt_rcu_read_unlock();
	rt_rcu_synchronize();
}

struct list {
	rt_ptr head;
	rt_u32 stop;
	uint64_t nodes[4]; /* plain */
	unsigned rounds;
};

static void read_list(void *arg)
{
	struct list *l = arg;

	for (unsigned i = 0; i < l->rounds && !rt_load_u32(&l->stop, RT_RELAXED); i++) {
		rt_rcu_read_lock();
		uint64_t *node = rt_load_ptr(&l->head, RT_ACQUIRE);
		CHECK(*node != GONE);
		rt_relax();
		CHECK(*node != GONE);
		rt_rcu_read_unlock();
	}
}

static void what_was_unlinked_may_be_freed_after_it(void)
{
	struct list l = { .rounds = driver_rounds(200000) };
	struct rt_thread t[2];

	l.nodes[0] = 1;
	rt_store_ptr(&l.head, &l.nodes[0], RT_RELEASE);
	thread_begin(&t[0], read_list, &l);
	thread_begin(&t[1], read_list, &l);
	for (unsigned i = 1; i <= driver_rounds(50); i++) {
		uint64_t *old = rt_load_ptr(&l.head, RT_RELAXED);
		l.nodes[i % 4] = i;
		rt_store_ptr(&l.head, &l.nodes[i % 4], RT_RELEASE);
		rt_rcu_synchronize();
		*old = GONE;
	}
	rt_store_u32(&l.stop, 1, RT_RELAXED);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
}

TESTS(rcu, TEST(synchronize_waits_for_an_open_section),
      TEST(a_section_ends_with_its_outermost_unlock), TEST(without_readers_it_does_not_wait),
      TEST(what_was_unlinked_may_be_freed_after_it));
