/* SPDX-License-Identifier: MIT */
/* lock.c - one holder at a time; who waits gets it in the end. */
#include "contract.h"

static void trylock_takes_what_is_free(void)
{
	struct rt_lock l;

	rt_lock_init(&l);
	CHECK(rt_trylock(&l));
	rt_lock_assert(&l);
	rt_unlock(&l);
	rt_lock(&l);
	rt_lock_assert(&l);
	rt_unlock(&l);
	CHECK(rt_trylock(&l));
	rt_unlock(&l);
}

struct locked {
	struct rt_lock l, other;
	uint64_t plain; /* under l */
	rt_u32 stage;
	unsigned rounds;
};

static void init(struct locked *s)
{
	*s = (struct locked){ .rounds = driver_rounds(5000) };
	rt_lock_init(&s->l);
	rt_lock_init(&s->other);
}

static void try_while_held(void *arg)
{
	struct locked *s = arg;

	CHECK(!rt_trylock(&s->l));
	CHECK(rt_trylock(&s->other));
	rt_unlock(&s->other);
	rt_store_u32(&s->stage, 1, RT_RELEASE);
}

static void trylock_does_not_take_what_is_held(void)
{
	struct locked s;
	struct rt_thread t;

	init(&s);
	rt_lock(&s.l);
	thread_begin(&t, try_while_held, &s);
	until(&s.stage, 1);
	rt_unlock(&s.l);
	rt_thread_join(&t);
	CHECK(rt_trylock(&s.l));
	rt_unlock(&s.l);
}

static void count_locked(void *arg)
{
	struct locked *s = arg;

	for (unsigned i = 0; i < s->rounds; i++) {
		if (i % 2 || !rt_trylock(&s->l))
			rt_lock(&s->l);
		uint64_t v = s->plain;
		for (unsigned spin = 0; spin < i % 8; spin++)
			rt_relax();
		s->plain = v + 1;
		rt_unlock(&s->l);
	}
}

static void one_holder_at_a_time(void)
{
	struct locked s;
	struct rt_thread t[3];

	init(&s);
	for (unsigned i = 0; i < 3; i++)
		thread_begin(&t[i], count_locked, &s);
	for (unsigned i = 0; i < 3; i++)
		rt_thread_join(&t[i]);
	CHECK_IS(s.plain, 3 * s.rounds);
}

static void take_and_say(void *arg)
{
	struct locked *s = arg;

	rt_store_u32(&s->stage, 1, RT_RELEASE);
	rt_lock(&s->l);
	s->plain++;
	rt_unlock(&s->l);
}

static void who_waits_gets_it(void)
{
	struct locked s;
	struct rt_thread t[2];

	init(&s);
	rt_lock(&s.l);
	thread_begin(&t[0], take_and_say, &s);
	thread_begin(&t[1], take_and_say, &s);
	until(&s.stage, 1);
	/* Long enough for the waiters to sleep, on a machine where they do. */
	uint64_t end = rt_now_ns() + 3000000;
	for (unsigned i = 0; i < driver_rounds(100000) && rt_now_ns() < end; i++)
		rt_relax();
	CHECK_IS(s.plain, 0);
	rt_unlock(&s.l);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
	CHECK_IS(s.plain, 2);
}

static void locks_nest(void)
{
	struct locked s;

	init(&s);
	rt_lock(&s.l);
	rt_lock(&s.other);
	rt_lock_assert(&s.l);
	rt_lock_assert(&s.other);
	rt_unlock(&s.l); /* in any order */
	rt_lock_assert(&s.other);
	rt_unlock(&s.other);
}

TESTS(lock, TEST(trylock_takes_what_is_free), TEST(trylock_does_not_take_what_is_held),
      TEST(one_holder_at_a_time), TEST(who_waits_gets_it), TEST(locks_nest));
