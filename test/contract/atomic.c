/* SPDX-License-Identifier: MIT */
/* atomic.c - loads, stores and what reads and writes in one step. */
#include "contract.h"

static void stores_are_loaded(void)
{
	static const enum rt_order load[] = { RT_RELAXED, RT_ACQUIRE, RT_SEQ_CST };
	static const enum rt_order store[] = { RT_RELAXED, RT_RELEASE, RT_SEQ_CST };
	rt_u32 a = { 0 };
	rt_u64 b = { 0 };
	rt_ptr p = { NULL };

	for (unsigned i = 0; i < 3; i++) {
		rt_store_u32(&a, 0xfffffff0u + i, store[i]);
		CHECK_IS(rt_load_u32(&a, load[i]), 0xfffffff0u + i);
		rt_store_u64(&b, ~0ull - i, store[i]);
		CHECK(rt_load_u64(&b, load[i]) == ~0ull - i);
		rt_store_ptr(&p, &p + i, store[i]);
		CHECK(rt_load_ptr(&p, load[i]) == &p + i);
	}
}

static void cas_is_true_if_it_was_expected(void)
{
	static const enum rt_order order[] = { RT_RELAXED, RT_ACQUIRE, RT_RELEASE, RT_ACQ_REL,
					       RT_SEQ_CST };
	int x, y;

	for (unsigned i = 0; i < 5; i++) {
		rt_u32 a = { 7 };
		rt_u64 b = { 7ull << 40 };
		rt_ptr p = { &x };

		CHECK(!rt_cas_u32(&a, 8, 9, order[i]));
		CHECK_IS(rt_load_u32(&a, RT_RELAXED), 7);
		CHECK(rt_cas_u32(&a, 7, 9, order[i]));
		CHECK_IS(rt_load_u32(&a, RT_RELAXED), 9);
		CHECK(!rt_cas_u64(&b, 7, 9, order[i])); /* all 64 bits are compared */
		CHECK(rt_cas_u64(&b, 7ull << 40, 9ull << 40, order[i]));
		CHECK(rt_load_u64(&b, RT_RELAXED) == 9ull << 40);
		CHECK(!rt_cas_ptr(&p, &y, NULL, order[i]));
		CHECK(rt_load_ptr(&p, RT_RELAXED) == &x);
		CHECK(rt_cas_ptr(&p, &x, &y, order[i]));
		CHECK(rt_load_ptr(&p, RT_RELAXED) == &y);
	}
}

static void arithmetic_returns_the_value_before(void)
{
	static const enum rt_order order[] = { RT_RELAXED, RT_SEQ_CST };

	for (unsigned i = 0; i < 2; i++) {
		rt_u32 a = { 5 };
		rt_u64 b = { 5ull << 32 };

		CHECK_IS(rt_add_u32(&a, 3, order[i]), 5);
		CHECK_IS(rt_sub_u32(&a, 2, order[i]), 8);
		CHECK_IS(rt_or_u32(&a, 8, order[i]), 6);
		CHECK_IS(rt_and_u32(&a, 12, order[i]), 14);
		CHECK_IS(rt_load_u32(&a, RT_RELAXED), 12);
		CHECK_IS(rt_add_u64(&b, 3ull << 32, order[i]), 5ll << 32);
		CHECK_IS(rt_sub_u64(&b, 2ull << 32, order[i]), 8ll << 32);
		CHECK_IS(rt_or_u64(&b, 8ull << 32, order[i]), 6ll << 32);
		CHECK_IS(rt_and_u64(&b, 12ull << 32, order[i]), 14ll << 32);
		CHECK_IS(rt_load_u64(&b, RT_RELAXED), 12ll << 32);
	}
}

static void arithmetic_wraps(void)
{
	rt_u32 a = { 0 };
	rt_u64 b = { 0 };

	CHECK_IS(rt_sub_u32(&a, 1, RT_RELAXED), 0);
	CHECK_IS(rt_add_u32(&a, 2, RT_RELAXED), UINT32_MAX);
	CHECK_IS(rt_load_u32(&a, RT_RELAXED), 1);
	rt_count_u64(&b, -1ull); /* how the core counts down */
	CHECK(rt_load_u64(&b, RT_RELAXED) == ~0ull);
	rt_count_u64(&b, 2);
	CHECK_IS(rt_load_u64(&b, RT_RELAXED), 1);
}

#define ADDERS 3

struct sums {
	rt_u32 added, chained, bits;
	rt_u64 counted, wide;
	rt_u32 next;
	unsigned rounds;
};

static void add_up(void *arg)
{
	struct sums *s = arg;
	uint32_t me = rt_add_u32(&s->next, 1, RT_RELAXED);

	for (unsigned i = 0; i < s->rounds; i++) {
		rt_add_u32(&s->added, 1, RT_RELAXED);
		rt_count_u64(&s->counted, 2);
		rt_sub_u64(&s->wide, 1, RT_ACQ_REL);
		for (;;) {
			uint32_t old = rt_load_u32(&s->chained, RT_RELAXED);
			if (rt_cas_u32(&s->chained, old, old + 3, RT_RELAXED))
				break;
			rt_relax();
		}
		/* Each has a bit of its own, which nobody else's step undoes. */
		CHECK(!(rt_or_u32(&s->bits, 1u << me, RT_RELAXED) & 1u << me));
		CHECK(rt_and_u32(&s->bits, ~(1u << me), RT_RELAXED) & 1u << me);
	}
}

static void nothing_is_lost_between_threads(void)
{
	struct sums s = { .rounds = driver_rounds(20000) };
	struct rt_thread t[ADDERS];

	for (unsigned i = 0; i < ADDERS; i++)
		thread_begin(&t[i], add_up, &s);
	for (unsigned i = 0; i < ADDERS; i++)
		rt_thread_join(&t[i]);
	CHECK_IS(rt_load_u32(&s.added, RT_RELAXED), s.rounds * ADDERS);
	CHECK_IS(rt_load_u32(&s.chained, RT_RELAXED), s.rounds * ADDERS * 3);
	CHECK_IS(rt_load_u64(&s.counted, RT_RELAXED), s.rounds * ADDERS * 2);
	CHECK_IS((int64_t)rt_load_u64(&s.wide, RT_RELAXED), -(int64_t)s.rounds * ADDERS);
	CHECK_IS(rt_load_u32(&s.bits, RT_RELAXED), 0);
}

struct message {
	uint64_t text; /* plain: ordered by the flags alone */
	rt_u32 sent, taken;
	unsigned rounds;
};

static void send_messages(void *arg)
{
	struct message *m = arg;

	for (unsigned i = 1; i <= m->rounds; i++) {
		m->text = i * 3;
		rt_store_u32(&m->sent, i, RT_RELEASE);
		until(&m->taken, i);
	}
}

static void acquire_sees_what_was_before_the_release(void)
{
	struct message m = { .rounds = driver_rounds(1000) };
	struct rt_thread t;

	thread_begin(&t, send_messages, &m);
	for (unsigned i = 1; i <= m.rounds; i++) {
		until(&m.sent, i);
		CHECK_IS(m.text, i * 3);
		rt_store_u32(&m.taken, i, RT_RELEASE);
	}
	rt_thread_join(&t);
}

TESTS(atomic, TEST(stores_are_loaded), TEST(cas_is_true_if_it_was_expected),
      TEST(arithmetic_returns_the_value_before), TEST(arithmetic_wraps),
      TEST(nothing_is_lost_between_threads), TEST(acquire_sees_what_was_before_the_release));
