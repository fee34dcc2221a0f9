/* SPDX-License-Identifier: MIT */
/* thread.c - threads of the machine's own, and the clock. */
#include "contract.h"

struct started {
	uint64_t plain;
	long self;
	struct rt_thread inner;
};

static void note(void *arg)
{
	struct started *s = arg;

	s->self = driver_self();
	s->plain += 5;
}

static void join_waits_for_its_end(void)
{
	struct started s = { .plain = 1 };
	struct rt_thread t;

	thread_begin(&t, note, &s);
	rt_thread_join(&t);
	CHECK_IS(s.plain, 6); /* all that it did is seen */
	CHECK(s.self != driver_self());
}

static void start_another(void *arg)
{
	struct started *s = arg;

	thread_begin(&s->inner, note, s);
}

static void who_started_it_need_not_join_it(void)
{
	struct started s = { .plain = 1 };
	struct rt_thread t;

	thread_begin(&t, start_another, &s);
	rt_thread_join(&t);
	rt_thread_join(&s.inner);
	CHECK_IS(s.plain, 6);
}

static void many_one_after_the_other(void)
{
	struct started s = { .plain = 0 };

	for (unsigned i = 0; i < 20; i++) {
		struct rt_thread t;
		thread_begin(&t, note, &s);
		rt_thread_join(&t);
	}
	CHECK_IS(s.plain, 100);
}

static void a_long_name_is_no_error(void)
{
	struct started s = { .plain = 0 };
	struct rt_thread t;

	CHECK_IS(rt_thread_start(&t, note, &s, "quire-a-name-longer-than-the-kernel-keeps"), 0);
	rt_thread_join(&t);
	CHECK_IS(s.plain, 5);
}

static void the_clock_does_not_go_back(void)
{
	uint64_t last = rt_now_ns();

	CHECK(last > 0);
	for (unsigned i = 0; i < 100; i++) {
		rt_u32 word = { 0 };
		rt_add_u32(&word, 1, RT_RELAXED);
		uint64_t now = rt_now_ns();
		CHECK(now >= last);
		last = now;
	}
}

TESTS(thread, TEST(join_waits_for_its_end), TEST(who_started_it_need_not_join_it),
      TEST(many_one_after_the_other), TEST(a_long_name_is_no_error),
      TEST(the_clock_does_not_go_back));
