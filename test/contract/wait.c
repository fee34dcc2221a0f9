/* SPDX-License-Identifier: MIT */
/* wait.c - sleeping on a word. A return says nothing: each of these looks again. */
#include "contract.h"

static void returns_at_once_if_the_word_differs(void)
{
	rt_u32 word = { 5 };

	CHECK_IS(rt_wait(&word, 4, 0), 0);
	CHECK_IS(rt_wait(&word, 6, 1000000000000ull), 0);
	CHECK_IS(rt_load_u32(&word, RT_RELAXED), 5);
}

static void times_out(void)
{
	rt_u32 word = { 1 };
	uint64_t begin = rt_now_ns(), end = begin + 3000000;

	for (uint64_t now = begin; now < end; now = rt_now_ns())
		CHECK_IS(rt_wait(&word, 1, end - now), 0);
	CHECK_IS(rt_wait(&word, 1, 1), 0); /* the shortest there is */
}

static void waking_nobody_is_nothing(void)
{
	rt_u32 word = { 1 };

	rt_wake(&word, 1);
	rt_wake(&word, UINT32_MAX);
	CHECK_IS(rt_load_u32(&word, RT_RELAXED), 1);
}

static void nobody_is_killed_by_itself(void)
{
	CHECK(!rt_killed());
}

struct sleepers {
	rt_u32 word, asleep, up;
	uint64_t plain;
};

static void sleep_until_it_changes(void *arg)
{
	struct sleepers *s = arg;

	rt_add_u32(&s->asleep, 1, RT_RELEASE);
	while (rt_load_u32(&s->word, RT_ACQUIRE) == 0)
		CHECK_IS(rt_wait(&s->word, 0, 0), 0);
	CHECK_IS(s->plain, 99);
	rt_add_u32(&s->up, 1, RT_RELEASE);
}

/* Begin n sleepers; each is woken by some of the calls of wake(). */
static void put_to_sleep(struct sleepers *s, struct rt_thread *t, unsigned n)
{
	*s = (struct sleepers){ .plain = 0 };
	for (unsigned i = 0; i < n; i++)
		thread_begin(&t[i], sleep_until_it_changes, s);
	until(&s->asleep, n);
	/* Likely asleep, where that takes time. */
	rt_u32 never = { 0 };
	rt_wait(&never, 0, 2000000);
}

static void is_woken(void)
{
	struct sleepers s;
	struct rt_thread t;

	put_to_sleep(&s, &t, 1);
	CHECK_IS(rt_load_u32(&s.up, RT_RELAXED), 0);
	s.plain = 99;
	rt_store_u32(&s.word, 1, RT_RELEASE);
	rt_wake(&s.word, 1);
	rt_thread_join(&t);
}

static void one_wake_of_many_wakes_all(void)
{
	struct sleepers s;
	struct rt_thread t[3];

	put_to_sleep(&s, t, 3);
	s.plain = 99;
	rt_store_u32(&s.word, 1, RT_RELEASE);
	rt_wake(&s.word, UINT32_MAX);
	for (unsigned i = 0; i < 3; i++)
		rt_thread_join(&t[i]);
	CHECK_IS(rt_load_u32(&s.up, RT_RELAXED), 3);
}

static void as_many_wakes_of_one_wake_all(void)
{
	struct sleepers s;
	struct rt_thread t[3];

	put_to_sleep(&s, t, 3);
	s.plain = 99;
	rt_store_u32(&s.word, 1, RT_RELEASE);
	for (unsigned i = 0; i < 3; i++)
		rt_wake(&s.word, 1);
	for (unsigned i = 0; i < 3; i++)
		rt_thread_join(&t[i]);
}

struct pingpong {
	rt_u32 word;
	uint64_t plain; /* passed on with the word */
	unsigned rounds;
};

static void pass_on(struct pingpong *p, uint32_t mine)
{
	for (unsigned i = 0; i < p->rounds; i++) {
		uint32_t now;
		while ((now = rt_load_u32(&p->word, RT_ACQUIRE)) % 2 != mine)
			rt_wait(&p->word, now, 0);
		p->plain++;
		rt_store_u32(&p->word, now + 1, RT_RELEASE);
		rt_wake(&p->word, 1);
	}
}

static void pass_odd(void *arg)
{
	pass_on(arg, 1);
}

static void no_wake_is_lost(void)
{
	struct pingpong p = { .rounds = driver_rounds(2000) };
	struct rt_thread t;

	thread_begin(&t, pass_odd, &p);
	pass_on(&p, 0);
	rt_thread_join(&t);
	CHECK_IS(p.plain, 2 * p.rounds);
}

static void sleeps_on_one_word_and_not_on_its_neighbour(void)
{
	struct sleepers s;
	struct rt_thread t;

	put_to_sleep(&s, &t, 1);
	rt_wake(&s.asleep, UINT32_MAX);
	rt_wake(&s.up, UINT32_MAX);
	CHECK_IS(rt_load_u32(&s.up, RT_ACQUIRE), 0);
	s.plain = 99;
	rt_store_u32(&s.word, 1, RT_RELEASE);
	rt_wake(&s.word, 1);
	rt_thread_join(&t);
}

TESTS(wait, TEST(returns_at_once_if_the_word_differs), TEST(times_out),
      TEST(waking_nobody_is_nothing), TEST(nobody_is_killed_by_itself), TEST(is_woken),
      TEST(one_wake_of_many_wakes_all), TEST(as_many_wakes_of_one_wake_all), TEST(no_wake_is_lost),
      TEST(sleeps_on_one_word_and_not_on_its_neighbour));
