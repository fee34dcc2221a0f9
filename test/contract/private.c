/* SPDX-License-Identifier: MIT */
/* private.c - private views: pages of the process's own over those of the object. */
#include "contract.h"

#define RW (RT_READ | RT_WRITE)

static void until_it_is_own_it_shows_the_object(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 2, 10);
	uint64_t v = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	FAULTS(v, false);
	FAULTS(v, true);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, true), 2);
	LOADS(v, 0, token_word(10, 0));
	FAULTS(v, true);
	CHECK_IS(rt_object_patch(&w.object, 0, "abcdefg", 8), 0);
	CHECK_IS(rt_object_drop(&w.object, 1, 1), 0);
	LOADS(v, 0, 0x67666564636261ull);
	FAULTS(v + RT_PAGE, false);
	CHECK_IS(rt_mmu_map(&w.mmu, v + RT_PAGE, 1, true), -EFAULT);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void an_own_page_is_nobody_elses(void)
{
	struct world w;

	world_open(&w, 3);
	world_fill(&w, 0, 2, 20);
	uint64_t v = world_view(&w, 0, 3, RW, RT_VIEW_PRIVATE);
	uint64_t shared = world_view(&w, 0, 3, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, shared, 2, false), 2);
	token_put(w.buf, 30);
	CHECK_IS(rt_mmu_own(&w.mmu, v, w.buf), 0);            /* over a mapped one */
	CHECK_IS(rt_mmu_own(&w.mmu, v + PAGES(1), w.buf), 0); /* of one that is there */
	CHECK_IS(rt_mmu_own(&w.mmu, v + PAGES(2), w.buf), 0); /* of a hole */
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < WORDS; k++)
			LOADS(v + PAGES(i), k, token_word(30, k));
	STORES(v, 0, 1);
	STORES(v + PAGES(2), 1, 2);
	LOADS(shared, 0, token_word(20, 0));
	CHECK_IS(world_word(&w, 0, 0), token_word(20, 0));
	CHECK_IS(world_word(&w, 2, 1), 0);
	FAULTS(shared + PAGES(2), false);
	STORES(shared, 0, 3); /* nor the other way */
	LOADS(v, 0, 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1); /* mapped already */
	STORES(v, 0, 4);
	rt_view_close(&w.mmu, v, PAGES(3));
	rt_view_close(&w.mmu, shared, PAGES(3));
	world_close(&w);
}

static void owned_again_it_has_the_new_content(void)
{
	struct world w;

	world_open(&w, 1);
	uint64_t v = world_view(&w, 0, 1, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 31);
	CHECK_IS(rt_mmu_own(&w.mmu, v, w.buf), 0);
	STORES(v, 0, 1);
	token_put(w.buf, 32);
	CHECK_IS(rt_mmu_own(&w.mmu, v, w.buf), 0);
	LOADS(v, 0, token_word(32, 0));
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

static void zap_loses_it(void)
{
	struct world w;

	world_open(&w, 3);
	world_fill(&w, 0, 3, 40);
	uint64_t v = world_view(&w, 0, 3, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 50);
	for (unsigned i = 0; i < 3; i++)
		CHECK_IS(rt_mmu_own(&w.mmu, v + PAGES(i), w.buf), 0);
	rt_mmu_zap(&w.mmu, v + PAGES(1), 1);
	FAULTS(v + PAGES(1), false);
	LOADS(v, 0, token_word(50, 0));
	LOADS(v + PAGES(2), 0, token_word(50, 0));
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 1, true), 1);
	LOADS(v + PAGES(1), 0, token_word(41, 0));
	FAULTS(v + PAGES(1), true);
	rt_view_close(&w.mmu, v, PAGES(3));
	world_close(&w);
}

static void dropping_the_objects_page_leaves_it(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 2, 60);
	uint64_t v = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, true), 2);
	token_put(w.buf, 70);
	CHECK_IS(rt_mmu_own(&w.mmu, v, w.buf), 0);
	CHECK_IS(rt_object_drop(&w.object, 0, 2), 0);
	LOADS(v, 1, token_word(70, 1));
	STORES(v, 1, 1);
	FAULTS(v + RT_PAGE, false);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void it_is_write_protected_as_any(void)
{
	struct world w;

	world_open(&w, 1);
	uint64_t v = world_view(&w, 0, 1, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 80);
	CHECK_IS(rt_mmu_own(&w.mmu, v, w.buf), 0);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 1), 0);
	FAULTS(v, true);
	LOADS(v, 0, token_word(80, 0));
	CHECK_IS(rt_mmu_unprotect(&w.mmu, v, 1), 0);
	STORES(v, 0, 1);
	CHECK_IS(rt_view_protect(&w.mmu, v, RT_PAGE, RT_READ), 0);
	REFUSES(v, true);
	LOADS(v, 0, 1);
	CHECK_IS(rt_view_protect(&w.mmu, v, RT_PAGE, RW), 0);
	STORES(v, 0, 2);
	LOADS(v, 0, 2);
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

static void past_the_object_there_is_none(void)
{
	struct world w;

	world_open(&w, 1);
	uint64_t v = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 90);
	CHECK_IS(rt_mmu_own(&w.mmu, v + RT_PAGE, w.buf), -EFAULT);
	CHECK_IS(rt_mmu_map(&w.mmu, v + RT_PAGE, 1, true), -EFAULT);
	FAULTS(v + RT_PAGE, false);
	CHECK_IS(rt_object_grow(&w.object, 2), 0);
	CHECK_IS(rt_mmu_own(&w.mmu, v + RT_PAGE, w.buf), 0);
	LOADS(v + RT_PAGE, 0, token_word(90, 0));
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void copies_move_with_their_view(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 6, 100);
	uint64_t from = world_view(&w, 2, 4, RW, RT_VIEW_PRIVATE);
	uint64_t to = world_view(&w, 0, 4, RW, RT_VIEW_PRIVATE);
	CHECK_IS(rt_mmu_map(&w.mmu, to, 4, true), 4);
	token_put(w.buf, 110);
	CHECK_IS(rt_mmu_own(&w.mmu, from + PAGES(1), w.buf), 0);
	token_put(w.buf, 111);
	CHECK_IS(rt_mmu_own(&w.mmu, from + PAGES(3), w.buf), 0);
	CHECK_IS(rt_mmu_own(&w.mmu, to + PAGES(2), w.buf), 0); /* what was there is gone */
	CHECK_IS(rt_view_move(&w.mmu, from, PAGES(4), to, RW), 0);
	for (unsigned i = 0; i < 4; i++)
		REFUSES(from + PAGES(i), false);
	LOADS(to + PAGES(1), 0, token_word(110, 0));
	LOADS(to + PAGES(3), 1, token_word(111, 1));
	STORES(to + PAGES(1), 1, 1);
	FAULTS(to, false);
	FAULTS(to + PAGES(2), true);
	CHECK_IS(rt_mmu_map(&w.mmu, to, 1, true), 1);
	LOADS(to, 0, token_word(102, 0)); /* the pages of the moved view */
	CHECK_IS(rt_mmu_map(&w.mmu, to + PAGES(2), 1, true), 1);
	LOADS(to + PAGES(2), 0, token_word(104, 0));
	FAULTS(to + PAGES(2), true);
	rt_view_close(&w.mmu, to, PAGES(4));
	REFUSES(to + PAGES(1), false);
	world_close(&w);
}

static void moved_they_have_the_new_rights(void)
{
	struct world w;

	world_open(&w, 2);
	uint64_t from = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE), to = world_room(&w, 2);
	token_put(w.buf, 120);
	CHECK_IS(rt_mmu_own(&w.mmu, from, w.buf), 0);
	CHECK_IS(rt_view_move(&w.mmu, from, PAGES(2), to, RT_READ), 0);
	LOADS(to, 0, token_word(120, 0));
	REFUSES(to, true);
	FAULTS(to + RT_PAGE, false);
	CHECK_IS(rt_view_protect(&w.mmu, to, PAGES(2), RW), 0);
	STORES(to, 0, 1);
	FAULTS(to + RT_PAGE, true);
	rt_view_close(&w.mmu, to, PAGES(2));
	world_close(&w);
}

static void a_part_moves_and_its_neighbours_stay(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 6, 130);
	uint64_t from = world_view(&w, 0, 6, RW, RT_VIEW_PRIVATE);
	uint64_t to = world_view(&w, 0, 4, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 140);
	for (unsigned i = 0; i < 6; i++)
		CHECK_IS(rt_mmu_own(&w.mmu, from + PAGES(i), w.buf), 0);
	CHECK_IS(rt_mmu_own(&w.mmu, to, w.buf), 0);
	CHECK_IS(rt_mmu_own(&w.mmu, to + PAGES(3), w.buf), 0);
	/* Pages 2 and 3, to the middle of the other. */
	CHECK_IS(rt_view_move(&w.mmu, from + PAGES(2), PAGES(2), to + PAGES(1), RW), 0);
	LOADS(from + PAGES(1), 0, token_word(140, 0));
	LOADS(from + PAGES(4), 0, token_word(140, 0));
	REFUSES(from + PAGES(2), false);
	LOADS(to, 0, token_word(140, 0));
	LOADS(to + PAGES(1), 0, token_word(140, 0));
	LOADS(to + PAGES(2), 0, token_word(140, 0));
	LOADS(to + PAGES(3), 0, token_word(140, 0));
	/* All are views as before: what is not mapped faults to us. */
	rt_mmu_zap(&w.mmu, from, 2);
	rt_mmu_zap(&w.mmu, to, 4);
	FAULTS(from + PAGES(1), false);
	for (unsigned i = 0; i < 4; i++)
		FAULTS(to + PAGES(i), false);
	CHECK_IS(rt_mmu_map(&w.mmu, to + PAGES(1), 1, true), 1);
	LOADS(to + PAGES(1), 0, token_word(132, 0));
	CHECK_IS(rt_mmu_map(&w.mmu, to + PAGES(3), 1, true), 1);
	LOADS(to + PAGES(3), 0, token_word(133, 0));
	rt_view_close(&w.mmu, from, PAGES(6));
	rt_view_close(&w.mmu, to, PAGES(4));
	world_close(&w);
}

/* Where a machine would make one range of the two: the neighbour is a view still. */
static void a_part_moves_next_to_what_continues_it(void)
{
	struct world w;

	for (unsigned rights = 0; rights <= RW; rights += RW) {
		world_open(&w, 6);
		world_fill(&w, 0, 6, 160);
		uint64_t from = world_view(&w, 2, 2, RW, RT_VIEW_PRIVATE);
		uint64_t to = world_view(&w, 1, 4, rights, RT_VIEW_PRIVATE);
		token_put(w.buf, 170);
		CHECK_IS(rt_mmu_own(&w.mmu, from, w.buf), 0);
		CHECK_IS(rt_view_move(&w.mmu, from, PAGES(2), to + PAGES(1), rights), 0);
		CHECK_IS(rt_view_protect(&w.mmu, to, PAGES(4), RW), 0);
		LOADS(to + PAGES(1), 0, token_word(170, 0));
		FAULTS(to, false);
		FAULTS(to + PAGES(2), true);
		FAULTS(to + PAGES(3), false);
		for (unsigned i = 0; i < 4; i++)
			CHECK_IS(rt_mmu_map(&w.mmu, to + PAGES(i), 1, true), 1);
		LOADS(to, 0, token_word(161, 0));
		LOADS(to + PAGES(3), 0, token_word(164, 0));
		FAULTS(to + PAGES(3), true);
		rt_view_close(&w.mmu, to, PAGES(4));
		world_close(&w);
	}
}

static void two_private_views_have_pages_each(void)
{
	struct world w;

	world_open(&w, 1);
	world_fill(&w, 0, 1, 150);
	uint64_t a = world_view(&w, 0, 1, RW, RT_VIEW_PRIVATE);
	uint64_t b = world_view(&w, 0, 1, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 151);
	CHECK_IS(rt_mmu_own(&w.mmu, a, w.buf), 0);
	token_put(w.buf, 152);
	CHECK_IS(rt_mmu_own(&w.mmu, b, w.buf), 0);
	STORES(a, 1, 1);
	LOADS(a, 0, token_word(151, 0));
	LOADS(b, 0, token_word(152, 0));
	LOADS(b, 1, token_word(152, 1));
	rt_view_close(&w.mmu, a, RT_PAGE);
	LOADS(b, 0, token_word(152, 0));
	rt_view_close(&w.mmu, b, RT_PAGE);
	world_close(&w);
}

TESTS(private, TEST(until_it_is_own_it_shows_the_object), TEST(an_own_page_is_nobody_elses),
      TEST(owned_again_it_has_the_new_content), TEST(zap_loses_it),
      TEST(dropping_the_objects_page_leaves_it), TEST(it_is_write_protected_as_any),
      TEST(past_the_object_there_is_none), TEST(copies_move_with_their_view),
      TEST(moved_they_have_the_new_rights), TEST(a_part_moves_and_its_neighbours_stay),
      TEST(a_part_moves_next_to_what_continues_it), TEST(two_private_views_have_pages_each));
