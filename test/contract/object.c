/* SPDX-License-Identifier: MIT */
/* object.c - pages that are there, and those that are not. */
#include <string.h>

#include "contract.h"

static void a_hole_reads_zero(void)
{
	struct world w;

	world_open(&w, 4);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < WORDS; k++)
			CHECK_IS(world_word(&w, i, k), 0);
	world_close(&w);
}

static void what_was_filled_is_fetched(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 1, 2, 30);
	CHECK_IS(world_word(&w, 0, 0), 0);
	for (unsigned k = 0; k < WORDS; k++) {
		CHECK_IS(world_word(&w, 1, k), token_word(30, k));
		CHECK_IS(world_word(&w, 2, k), token_word(31, k));
	}
	CHECK_IS(world_word(&w, 3, 1), 0);
	world_fill(&w, 1, 1, 40); /* again: new content */
	CHECK_IS(world_word(&w, 1, 0), token_word(40, 0));
	CHECK_IS(world_word(&w, 1, 1), token_word(40, 1));
	CHECK_IS(world_word(&w, 2, 0), token_word(31, 0));
	world_close(&w);
}

static void several_pages_at_once(void)
{
	struct world w;

	world_open(&w, 8);
	char *many = rt_pages_alloc(PAGES(4));
	CHECK(many);
	for (unsigned i = 0; i < 4; i++)
		token_put(many + PAGES(i), 50 + i);
	CHECK_IS(rt_object_fill(&w.object, 3, many, 4), 0);
	memset(many, 0xee, PAGES(4));
	/* One that is not there among them. */
	CHECK_IS(rt_object_drop(&w.object, 4, 1), 0);
	CHECK_IS(rt_object_fetch(&w.object, 3, many, 4), 0);
	for (unsigned k = 0; k < WORDS; k++) {
		CHECK_IS(page_word(many, k), token_word(50, k));
		CHECK_IS(page_word(many + PAGES(1), k), 0);
		CHECK_IS(page_word(many + PAGES(2), k), token_word(52, k));
		CHECK_IS(page_word(many + PAGES(3), k), token_word(53, k));
	}
	rt_pages_free(many, PAGES(4));
	world_close(&w);
}

static void patch_changes_bytes_and_no_more(void)
{
	struct world w;
	uint64_t v = 0x1122334455667788ull, start = PAGES(1) + RT_PAGE / WORDS;

	world_open(&w, 4);
	world_fill(&w, 1, 2, 60);
	CHECK_IS(rt_object_patch(&w.object, start, &v, sizeof(v)), 0);
	CHECK_IS(world_word(&w, 1, 1), v);
	CHECK_IS(world_word(&w, 1, 0), token_word(60, 0));
	CHECK_IS(rt_object_patch(&w.object, start, "\x99", 1), 0);
	CHECK_IS(world_word(&w, 1, 1), 0x1122334455667799ull);
	/* Over the border of two pages. */
	CHECK_IS(rt_object_patch(&w.object, PAGES(2) - 2, "abcd", 4), 0);
	CHECK_IS(world_word(&w, 2, 0), (token_word(61, 0) & ~0xffffull) | 'd' << 8 | 'c');
	CHECK_IS(world_word(&w, 1, 0), token_word(60, 0));
	CHECK_IS(w.buf[RT_PAGE - 1], 'b');
	CHECK_IS(w.buf[RT_PAGE - 2], 'a');
	CHECK_IS(w.buf[RT_PAGE - 3], 0);
	world_close(&w);
}

static void dropped_pages_are_not_there(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 5, 70);
	CHECK_IS(rt_object_drop(&w.object, 1, 2), 0);
	CHECK_IS(world_word(&w, 0, 1), token_word(70, 1));
	CHECK_IS(world_word(&w, 1, 0), 0);
	CHECK_IS(world_word(&w, 2, 1), 0);
	CHECK_IS(world_word(&w, 3, 0), token_word(73, 0));
	CHECK_IS(rt_object_drop(&w.object, 1, 2), 0); /* what is not there */
	CHECK_IS(rt_object_drop(&w.object, 0, 6), 0);
	for (unsigned i = 0; i < 6; i++)
		CHECK_IS(world_word(&w, i, 0), 0);
	world_fill(&w, 1, 1, 80);
	CHECK_IS(world_word(&w, 1, 0), token_word(80, 0));
	world_close(&w);
}

static void it_grows_and_never_shrinks(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 1, 1, 90);
	CHECK_IS(rt_object_grow(&w.object, 5), 0);
	CHECK_IS(world_word(&w, 4, 0), 0);
	world_fill(&w, 4, 1, 95);
	CHECK_IS(rt_object_grow(&w.object, 1), 0);
	CHECK_IS(world_word(&w, 4, 1), token_word(95, 1));
	CHECK_IS(world_word(&w, 1, 1), token_word(90, 1));
	world_close(&w);
}

static void past_its_end_nothing_is_fetched(void)
{
	struct world w;

	world_open(&w, 2);
	CHECK_IS(rt_object_fetch(&w.object, 2, w.buf, 1), -EIO);
	CHECK_IS(rt_object_drop(&w.object, 1, 3), 0); /* what is not there need not be dropped */
	world_close(&w);
}

static void an_object_has_pages_of_its_own(void)
{
	struct world w;
	struct rt_object other;

	world_open(&w, 2);
	CHECK_IS(rt_object_open(&other, 2), 0);
	world_fill(&w, 0, 1, 100);
	CHECK_IS(rt_object_fetch(&other, 0, w.buf, 1), 0);
	CHECK_IS(page_word(w.buf, 0), 0);
	rt_object_close(&other);
	CHECK_IS(world_word(&w, 0, 0), token_word(100, 0));
	CHECK_IS(rt_object_open(&other, 2), 0); /* a new one is empty */
	CHECK_IS(rt_object_fetch(&other, 0, w.buf, 1), 0);
	CHECK_IS(page_word(w.buf, 0), 0);
	rt_object_close(&other);
	world_close(&w);
}

struct two {
	struct rt_object object;
	rt_u32 next;
};

static void work_on_a_page(void *arg)
{
	struct two *s = arg;
	uint32_t me = rt_add_u32(&s->next, 1, RT_RELAXED);
	char *buf = rt_pages_alloc(RT_PAGE);

	CHECK(buf);
	for (unsigned i = 0; i < driver_rounds(100); i++) {
		token_put(buf, me * 1000 + i);
		CHECK_IS(rt_object_fill(&s->object, me, buf, 1), 0);
		memset(buf, 0, RT_PAGE);
		CHECK_IS(rt_object_fetch(&s->object, me, buf, 1), 0);
		CHECK_IS(page_word(buf, 1), token_word(me * 1000 + i, 1));
		CHECK_IS(rt_object_drop(&s->object, me, 1), 0);
		CHECK_IS(rt_object_fetch(&s->object, me, buf, 1), 0);
		CHECK_IS(page_word(buf, 0), 0);
	}
	rt_pages_free(buf, RT_PAGE);
}

static void threads_work_on_different_pages(void)
{
	struct two s = { .next = { 0 } };
	struct rt_thread t[2];

	CHECK_IS(rt_object_open(&s.object, 4), 0);
	thread_begin(&t[0], work_on_a_page, &s);
	thread_begin(&t[1], work_on_a_page, &s);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
	rt_object_close(&s.object);
}

TESTS(object, TEST(a_hole_reads_zero), TEST(what_was_filled_is_fetched),
      TEST(several_pages_at_once), TEST(patch_changes_bytes_and_no_more),
      TEST(dropped_pages_are_not_there), TEST(it_grows_and_never_shrinks),
      TEST(past_its_end_nothing_is_fetched), TEST(an_object_has_pages_of_its_own),
      TEST(threads_work_on_different_pages));
