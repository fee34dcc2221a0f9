/* SPDX-License-Identifier: MIT */
/* memory.c - pages of our own. */
#include <string.h>

#include "contract.h"

static bool is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void pages_are_zeroed(void)
{
	static const unsigned sizes[] = { 1, 2, 3, 7 };

	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 4; i++) {
			/* A part of a page is a page. */
			size_t bytes = PAGES(sizes[i]) - (round == 2 ? RT_PAGE / 2 : 0);
			char *p = rt_pages_alloc(bytes);
			CHECK(p);
			CHECK_IS((uintptr_t)p % RT_PAGE, 0);
			CHECK(is_zero(p, PAGES(sizes[i])));
			memset(p, 0xff, PAGES(sizes[i])); /* and again when they come back */
			rt_pages_free(p, bytes);
		}
}

static void ranges_do_not_overlap(void)
{
	char *p[6];

	for (unsigned i = 0; i < 6; i++) {
		p[i] = rt_pages_alloc(PAGES(1 + i % 3));
		CHECK(p[i]);
		memset(p[i], (int)i + 1, PAGES(1 + i % 3));
	}
	for (unsigned i = 0; i < 6; i += 2) {
		rt_pages_free(p[i], PAGES(1 + i % 3));
		p[i] = rt_pages_alloc(PAGES(1 + i % 3));
		CHECK(p[i]);
		memset(p[i], (int)i + 1, PAGES(1 + i % 3));
	}
	for (unsigned i = 0; i < 6; i++)
		for (size_t b = 0; b < PAGES(1 + i % 3); b++)
			CHECK_IS(p[i][b], i + 1);
	for (unsigned i = 0; i < 6; i++)
		rt_pages_free(p[i], PAGES(1 + i % 3));
}

static void no_pages_is_NULL(void)
{
	CHECK(!rt_pages_alloc(1ull << 50));
	rt_pages_free(NULL, RT_PAGE);
	char *p = rt_pages_alloc(RT_PAGE); /* and does no harm */
	CHECK(p);
	rt_pages_free(p, RT_PAGE);
}

static void take_and_give(void *arg)
{
	rt_u32 *stage = arg;
	uint32_t me = rt_add_u32(stage, 1, RT_RELAXED);

	for (unsigned i = 0; i < driver_rounds(200); i++) {
		uint64_t *p = rt_pages_alloc(PAGES(1 + i % 2));
		CHECK(p);
		CHECK_IS(p[1], 0);
		p[1] = me + 1;
		rt_relax();
		CHECK_IS(p[1], me + 1);
		rt_pages_free(p, PAGES(1 + i % 2));
	}
}

static void threads_take_and_give_at_once(void)
{
	struct rt_thread t[3];
	rt_u32 stage = { 0 };

	for (unsigned i = 0; i < 3; i++)
		thread_begin(&t[i], take_and_give, &stage);
	for (unsigned i = 0; i < 3; i++)
		rt_thread_join(&t[i]);
}

TESTS(memory, TEST(pages_are_zeroed), TEST(ranges_do_not_overlap), TEST(no_pages_is_NULL),
      TEST(threads_take_and_give_at_once));
