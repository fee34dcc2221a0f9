/* SPDX-License-Identifier: MIT */
/* view.c - shared views: what is mapped where, with which rights, and what a touch does. */
#include "contract.h"

#define RW (RT_READ | RT_WRITE)

static void every_touch_faults_first(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 2, 10); /* there or not: it is not mapped */
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	for (unsigned i = 0; i < 4; i++) {
		FAULTS(v + PAGES(i), false);
		FAULTS(v + PAGES(i), true);
	}
	FAULTS(v, false);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void map_shows_the_page(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 10);
	uint64_t v = world_view(&w, 1, 3, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 1, false), 1);
	for (unsigned k = 0; k < WORDS; k++)
		LOADS(v + PAGES(1), k, token_word(12, k));
	STORES(v + PAGES(1), 1, 4711);
	LOADS(v + PAGES(1), 1, 4711);
	CHECK_IS(world_word(&w, 2, 1), 4711);
	FAULTS(v, false);
	FAULTS(v + PAGES(2), true);
	rt_view_close(&w.mmu, v, PAGES(3));
	world_close(&w);
}

static void write_protected_it_is_read_and_faults_on_writing(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 2, 20);
	uint64_t v = world_view(&w, 0, 2, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, true), 2);
	LOADS(v, 0, token_word(20, 0));
	FAULTS(v, true);
	LOADS(v, 1, token_word(20, 1));
	/* unprotect: the next write does not */
	CHECK_IS(rt_mmu_unprotect(&w.mmu, v, 1), 0);
	STORES(v, 0, 21);
	FAULTS(v + RT_PAGE, true);
	/* wrprotect: it does again */
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 2), 0);
	FAULTS(v, true);
	LOADS(v, 0, 21);
	CHECK_IS(rt_mmu_unprotect(&w.mmu, v, 2), 0);
	STORES(v, 0, 22);
	STORES(v + RT_PAGE, 1, 23);
	CHECK_IS(world_word(&w, 0, 0), 22);
	CHECK_IS(world_word(&w, 1, 1), 23);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void zap_unmaps_and_the_page_stays(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 30);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 4, false), 4);
	STORES(v + PAGES(1), 0, 77);
	rt_mmu_zap(&w.mmu, v + PAGES(1), 2);
	LOADS(v, 0, token_word(30, 0));
	FAULTS(v + PAGES(1), false);
	FAULTS(v + PAGES(2), true);
	LOADS(v + PAGES(3), 0, token_word(33, 0));
	CHECK_IS(world_word(&w, 1, 0), 77);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 2, true), 2);
	LOADS(v + PAGES(1), 0, 77);
	rt_mmu_zap(&w.mmu, v, 4);
	rt_mmu_zap(&w.mmu, v, 4); /* nothing mapped: nothing */
	/* No mark of the write protection stays behind. */
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 1, false), 1);
	STORES(v + PAGES(1), 0, 78);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void drop_unmaps_everywhere(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 40);
	uint64_t a = world_view(&w, 0, 4, RW, 0), b = world_view(&w, 1, 2, RT_READ, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, a, 4, false), 4);
	CHECK_IS(rt_mmu_map(&w.mmu, b, 2, true), 2);
	CHECK_IS(rt_object_drop(&w.object, 1, 1), 0);
	FAULTS(a + PAGES(1), false);
	FAULTS(b, false);
	LOADS(a, 0, token_word(40, 0));
	LOADS(a + PAGES(2), 0, token_word(42, 0));
	LOADS(b + PAGES(1), 0, token_word(42, 0));
	world_fill(&w, 1, 1, 45); /* there again, not mapped */
	FAULTS(a + PAGES(1), false);
	FAULTS(b, false);
	CHECK_IS(rt_mmu_map(&w.mmu, b, 1, false), 1);
	LOADS(b, 1, token_word(45, 1));
	rt_view_close(&w.mmu, a, PAGES(4));
	rt_view_close(&w.mmu, b, PAGES(2));
	world_close(&w);
}

static void a_hole_is_not_mapped(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 1, 1, 50);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), -EFAULT);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 4, true), -EFAULT); /* the first one is the hole */
	FAULTS(v, false);
	FAULTS(v + PAGES(1), false);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void with_a_hole_in_the_middle_the_front_is_mapped(void)
{
	struct world w;

	world_open(&w, 5);
	world_fill(&w, 0, 5, 50);
	CHECK_IS(rt_object_drop(&w.object, 2, 1), 0);
	uint64_t v = world_view(&w, 0, 5, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 5, false), 2);
	LOADS(v, 0, token_word(50, 0));
	LOADS(v + PAGES(1), 0, token_word(51, 0));
	FAULTS(v + PAGES(2), false);
	FAULTS(v + PAGES(3), false);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(3), 2, true), 2);
	LOADS(v + PAGES(3), 0, token_word(53, 0));
	/* Pages that are mapped already do not hide it. */
	CHECK_IS(rt_mmu_map(&w.mmu, v, 5, false), 2);
	rt_view_close(&w.mmu, v, PAGES(5));
	world_close(&w);
}

static void what_is_mapped_counts_and_keeps_its_protection(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 60);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, true), 1);
	FAULTS(v, true);
	STORES(v + PAGES(2), 0, 61);
	/* Among others: mapped, not, mapped, not. */
	CHECK_IS(rt_mmu_map(&w.mmu, v, 4, false), 4);
	FAULTS(v, true);
	STORES(v + PAGES(1), 0, 62);
	STORES(v + PAGES(2), 0, 63);
	STORES(v + PAGES(3), 0, 64);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void outside_a_view_nothing_is_mapped(void)
{
	struct world w;

	world_open(&w, 8);
	world_fill(&w, 0, 8, 70);
	token_put(w.buf, 1);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	rt_view_close(&w.mmu, v + PAGES(2), PAGES(2)); /* its end: nothing is there now */
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), -ENOENT);
	CHECK_IS(rt_mmu_copy(&w.mmu, v + PAGES(2), w.buf, false), -ENOENT);
	CHECK_IS(rt_mmu_own(&w.mmu, v + PAGES(2), w.buf), -ENOENT);
	CHECK(rt_mmu_wrprotect(&w.mmu, v + PAGES(2), 1) < 0);
	CHECK(rt_mmu_unprotect(&w.mmu, v + PAGES(2), 1) < 0);
	/* The range is a view as a whole, or it is not one. */
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 2, false), -ENOENT);
	FAULTS(v + PAGES(1), false);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, false), 2);
	LOADS(v + PAGES(1), 0, token_word(71, 0));
	rt_view_close(&w.mmu, v, PAGES(2));
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), -ENOENT);
	world_close(&w);
}

static void a_reserved_range_is_no_view(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 1, 75);
	uint64_t at = world_room(&w, 2);
	CHECK_IS(rt_view_reserve(&w.mmu, at, PAGES(2)), 0);
	CHECK_IS(rt_mmu_map(&w.mmu, at, 1, false), -ENOENT);
	CHECK_IS(rt_mmu_copy(&w.mmu, at, w.buf, false), -ENOENT);
	REFUSES(at, false);
	rt_view_close(&w.mmu, at, PAGES(2));
	world_close(&w);
}

static void past_the_object_nothing_is_there(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 2, 80);
	token_put(w.buf, 1);
	uint64_t v = world_view(&w, 0, 4, RW, 0); /* a view may be longer */
	FAULTS(v + PAGES(2), false);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), -EFAULT);
	CHECK_IS(rt_mmu_copy(&w.mmu, v + PAGES(2), w.buf, false), -EFAULT);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 4, false), 2);
	FAULTS(v + PAGES(3), true);
	CHECK_IS(rt_object_grow(&w.object, 4), 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), -EFAULT);
	world_fill(&w, 2, 1, 85);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), 1);
	LOADS(v + PAGES(2), 0, token_word(85, 0));
	CHECK_IS(rt_mmu_copy(&w.mmu, v + PAGES(3), w.buf, false), 0);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void copy_fills_and_maps(void)
{
	struct world w;

	world_open(&w, 4);
	uint64_t v = world_view(&w, 0, 4, RW, 0), other = world_view(&w, 0, 4, RW, 0);
	token_put(w.buf, 90);
	CHECK_IS(rt_mmu_copy(&w.mmu, v, w.buf, false), 0);
	LOADS(v, 0, token_word(90, 0));
	LOADS(v, 1, token_word(90, 1));
	STORES(v, 0, 91);
	token_put(w.buf, 92);
	CHECK_IS(rt_mmu_copy(&w.mmu, v + PAGES(1), w.buf, true), 0);
	LOADS(v + PAGES(1), 0, token_word(92, 0));
	FAULTS(v + PAGES(1), true);
	CHECK_IS(rt_mmu_unprotect(&w.mmu, v + PAGES(1), 1), 0);
	STORES(v + PAGES(1), 0, 93);
	/* It is the object's page, and not mapped elsewhere by that. */
	CHECK_IS(world_word(&w, 0, 0), 91);
	CHECK_IS(world_word(&w, 1, 1), token_word(92, 1));
	FAULTS(other, false);
	CHECK_IS(rt_mmu_map(&w.mmu, other, 2, false), 2);
	LOADS(other, 0, 91);
	LOADS(other + PAGES(1), 0, 93);
	rt_view_close(&w.mmu, v, PAGES(4));
	rt_view_close(&w.mmu, other, PAGES(4));
	world_close(&w);
}

static void copy_is_refused_where_something_is(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 2, 100);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1);
	token_put(w.buf, 200);
	CHECK_IS(rt_mmu_copy(&w.mmu, v, w.buf, false), -EEXIST);            /* mapped */
	CHECK_IS(rt_mmu_copy(&w.mmu, v + PAGES(1), w.buf, false), -EEXIST); /* there */
	LOADS(v, 0, token_word(100, 0));
	FAULTS(v, true); /* as it was */
	FAULTS(v + PAGES(1), false);
	CHECK_IS(world_word(&w, 1, 0), token_word(101, 0));
	token_put(w.buf, 200);
	CHECK_IS(rt_object_drop(&w.object, 0, 2), 0);
	CHECK_IS(rt_mmu_copy(&w.mmu, v, w.buf, false), 0);
	LOADS(v, 0, token_word(200, 0));
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void rights_decide_before_mapping_does(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 2, 110);
	uint64_t v = world_view(&w, 0, 2, RT_READ, 0);
	REFUSES(v, true); /* whether mapped or not */
	FAULTS(v, false);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1);
	LOADS(v, 0, token_word(110, 0));
	REFUSES(v, true);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(2), 0), 0);
	REFUSES(v, false);
	REFUSES(v + RT_PAGE, false);
	/* A page is mapped for whoever may see it later. */
	CHECK_IS(rt_mmu_map(&w.mmu, v + RT_PAGE, 1, false), 1);
	REFUSES(v + RT_PAGE, false);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(2), RT_READ), 0);
	LOADS(v + RT_PAGE, 0, token_word(111, 0));
	LOADS(v, 0, token_word(110, 0));
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void new_rights_leave_pages_mapped(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 120);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 1, false), 1);
	STORES(v + PAGES(1), 0, 1);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(4), RT_READ), 0);
	LOADS(v, 0, token_word(120, 0));
	REFUSES(v + PAGES(1), true);
	FAULTS(v + PAGES(2), false);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(4), 0), 0);
	REFUSES(v, false);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(4), RW), 0);
	LOADS(v, 0, token_word(120, 0));
	FAULTS(v, true); /* write-protected still */
	STORES(v + PAGES(1), 0, 2);
	FAULTS(v + PAGES(2), true);
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void mapped_read_only_it_is_written_once_it_may_be(void)
{
	struct world w;

	world_open(&w, 1);
	world_fill(&w, 0, 1, 125);
	uint64_t v = world_view(&w, 0, 1, RT_READ, RT_VIEW_MAY_WRITE);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1);
	REFUSES(v, true);
	CHECK_IS(rt_view_protect(&w.mmu, v, RT_PAGE, RW), 0);
	STORES(v, 0, 126);
	CHECK_IS(world_word(&w, 0, 0), 126);
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

static void who_may_write_may_read(void)
{
	struct world w;

	world_open(&w, 1);
	world_fill(&w, 0, 1, 127);
	uint64_t v = world_view(&w, 0, 1, RT_WRITE, 0);
	FAULTS(v, false);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1);
	LOADS(v, 0, token_word(127, 0));
	STORES(v, 0, 128);
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

static void a_part_has_rights_of_its_own(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 6, 130);
	uint64_t v = world_view(&w, 0, 6, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1);
	CHECK_IS(rt_view_protect(&w.mmu, v + PAGES(2), PAGES(2), RT_READ), 0);
	STORES(v, 0, 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 2, false), 2);
	REFUSES(v + PAGES(2), true);
	LOADS(v + PAGES(3), 0, token_word(133, 0));
	FAULTS(v + PAGES(4), true);
	/* Parts of different rights are views of their own, for a range. */
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 2, false), -ENOENT);
	FAULTS(v + PAGES(1), false);
	rt_mmu_zap(&w.mmu, v, 6); /* not for these */
	FAULTS(v + PAGES(3), false);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), 1);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(4), 1, false), 1);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 6), 0);
	FAULTS(v + PAGES(4), true);
	CHECK_IS(rt_view_protect(&w.mmu, v, PAGES(6), RW), 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 6, false), 6); /* shared and equal: one again */
	STORES(v + PAGES(1), 0, 3);
	rt_view_close(&w.mmu, v, PAGES(6));
	world_close(&w);
}

static void what_is_no_view_has_no_rights(void)
{
	struct world w;

	world_open(&w, 2);
	uint64_t at = world_room(&w, 2);
	CHECK(rt_view_protect(&w.mmu, at, PAGES(2), RT_READ) < 0);
	REFUSES(at, false);
	world_close(&w);
}

static void a_closed_view_is_refused(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 6, 140);
	uint64_t v = world_view(&w, 0, 6, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 6, false), 6);
	CHECK_IS(rt_view_part(&w.mmu, v + PAGES(2), PAGES(1)), 0);
	rt_view_close(&w.mmu, v + PAGES(2), PAGES(1));
	REFUSES(v + PAGES(2), false);
	REFUSES(v + PAGES(2), true);
	LOADS(v + PAGES(1), 0, token_word(141, 0));
	STORES(v + PAGES(3), 0, 7);
	CHECK_IS(world_word(&w, 3, 0), 7);
	rt_view_close(&w.mmu, v, PAGES(6)); /* over the gap */
	for (unsigned i = 0; i < 6; i++)
		REFUSES(v + PAGES(i), false);
	CHECK_IS(world_word(&w, 2, 0), token_word(142, 0));
	world_close(&w);
}

static void a_parted_range_is_a_view_of_its_own(void)
{
	struct world w;

	world_open(&w, 6);
	world_fill(&w, 0, 6, 145);
	uint64_t v = world_view(&w, 0, 6, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, false), 2);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, true), 1);
	CHECK_IS(rt_view_part(&w.mmu, v + PAGES(1), PAGES(3)), 0);
	/* What is mapped stays so, and what is not still faults to us. */
	LOADS(v, 0, token_word(145, 0));
	STORES(v + PAGES(1), 0, 1);
	FAULTS(v + PAGES(2), true);
	FAULTS(v + PAGES(3), false);
	FAULTS(v + PAGES(4), true);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(3), 2, false), -ENOENT);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 3, false), 3);
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(4), 2, false), 2);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 6), 0); /* over all three */
	FAULTS(v + PAGES(3), true);
	LOADS(v + PAGES(3), 0, token_word(148, 0));
	rt_mmu_zap(&w.mmu, v, 6);
	FAULTS(v + PAGES(5), false);
	rt_view_close(&w.mmu, v + PAGES(1), PAGES(3));
	REFUSES(v + PAGES(1), false);
	FAULTS(v, false);
	FAULTS(v + PAGES(4), false);
	CHECK(rt_view_part(&w.mmu, v + PAGES(2), PAGES(1)) < 0); /* there is none */
	rt_view_close(&w.mmu, v, PAGES(6));
	world_close(&w);
}

static void a_new_view_there_shows_nothing_of_the_old(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 150);
	uint64_t v = world_view(&w, 0, 2, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, true), 2);
	rt_view_close(&w.mmu, v, PAGES(2));
	uint64_t at = v;
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 2, PAGES(2), RW, RT_VIEW_FIXED, &at), 0);
	CHECK(at == v);
	FAULTS(v, false);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 2, false), 2);
	LOADS(v, 0, token_word(152, 0));
	STORES(v + RT_PAGE, 0, 1); /* nor its write protection */
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void fixed_replaces_what_is_there(void)
{
	struct world w;
	struct rt_object other;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 160);
	CHECK_IS(rt_object_open(&other, 2), 0);
	token_put(w.buf, 170);
	CHECK_IS(rt_object_fill(&other, 0, w.buf, 1), 0);
	uint64_t v = world_view(&w, 0, 4, RW, 0), at = v + PAGES(1);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 4, false), 4);
	CHECK_IS(rt_view_open(&w.mmu, &other, 0, PAGES(2), RT_READ, RT_VIEW_FIXED, &at), 0);
	CHECK(at == v + PAGES(1));
	FAULTS(v + PAGES(1), false);
	REFUSES(v + PAGES(1), true);
	LOADS(v, 0, token_word(160, 0));
	LOADS(v + PAGES(3), 0, token_word(163, 0));
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(1), 1, false), 1);
	LOADS(v + PAGES(1), 0, token_word(170, 0));
	CHECK_IS(rt_mmu_map(&w.mmu, v + PAGES(2), 1, false), -EFAULT);
	CHECK_IS(world_word(&w, 1, 0), token_word(161, 0));
	/* The object's own pages are dropped there without touching the other's. */
	CHECK_IS(rt_object_drop(&w.object, 0, 4), 0);
	LOADS(v + PAGES(1), 0, token_word(170, 0));
	FAULTS(v + PAGES(3), false);
	rt_view_close(&w.mmu, v, PAGES(4));
	rt_object_close(&other);
	world_close(&w);
}

static void noreplace_refuses_what_is_taken(void)
{
	struct world w;
	unsigned flags = RT_VIEW_FIXED | RT_VIEW_NOREPLACE;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 180);
	uint64_t room = world_room(&w, 4), at = room;
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RW, flags, &at), 0);
	CHECK(at == room);
	CHECK_IS(rt_mmu_map(&w.mmu, room, 2, false), 2);
	at = room + PAGES(1); /* the first page of it is taken */
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RW, flags, &at), -EEXIST);
	LOADS(room + PAGES(1), 0, token_word(181, 0));
	REFUSES(room + PAGES(2), false);
	at = room + PAGES(2);
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 2, PAGES(2), RW, flags, &at), 0);
	LOADS(room, 0, token_word(180, 0));
	rt_view_close(&w.mmu, room, PAGES(4));
	world_close(&w);
}

static void a_wish_is_granted_if_it_is_free(void)
{
	struct world w;

	world_open(&w, 4);
	uint64_t room = world_room(&w, 2), at = room;
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RW, 0, &at), 0);
	CHECK(at == room);
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RW, 0, &at), 0);
	CHECK(at != room); /* taken: somewhere else */
	CHECK(at + PAGES(2) <= room || room + PAGES(2) <= at);
	FAULTS(room, true);
	FAULTS(at, true);
	rt_view_close(&w.mmu, room, PAGES(2));
	rt_view_close(&w.mmu, at, PAGES(2));
	world_close(&w);
}

static void what_is_reserved_is_taken(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 190);
	uint64_t room = world_room(&w, 4), at = room;
	CHECK_IS(rt_view_reserve(&w.mmu, room, PAGES(4)), 0);
	REFUSES(room, false);
	REFUSES(room + PAGES(3), true);
	CHECK_IS(rt_view_reserve(&w.mmu, room + PAGES(2), PAGES(1)), -EEXIST);
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(1), RW, RT_VIEW_FIXED | RT_VIEW_NOREPLACE,
			      &at),
		 -EEXIST);
	/* A fixed view replaces a part of it, the rest stays. */
	CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(1), RW, RT_VIEW_FIXED, &at), 0);
	FAULTS(room, true);
	REFUSES(room + PAGES(1), false);
	CHECK_IS(rt_view_reserve(&w.mmu, room, PAGES(1)), -EEXIST); /* nor over a view */
	rt_view_close(&w.mmu, room, PAGES(4));
	CHECK_IS(rt_view_reserve(&w.mmu, room, PAGES(4)), 0);
	rt_view_close(&w.mmu, room, PAGES(4));
	world_close(&w);
}

static void two_views_show_one_page(void)
{
	struct world w;

	world_open(&w, 4);
	world_fill(&w, 0, 4, 200);
	uint64_t a = world_view(&w, 0, 4, RW, 0), b = world_view(&w, 2, 2, RW, 0);
	CHECK_IS(rt_mmu_map(&w.mmu, a, 4, false), 4);
	FAULTS(b, false);
	CHECK_IS(rt_mmu_map(&w.mmu, b, 2, true), 2);
	STORES(a + PAGES(2), 1, 5);
	LOADS(b, 1, 5);
	FAULTS(b, true); /* each has its own protection */
	CHECK_IS(rt_mmu_unprotect(&w.mmu, b, 1), 0);
	STORES(b, 1, 6);
	LOADS(a + PAGES(2), 1, 6);
	CHECK_IS(rt_object_patch(&w.object, PAGES(3), "xyz", 4), 0);
	uint64_t v;
	CHECK_IS(driver_touch(b + PAGES(1), 0, false, &v), TOUCH_OK);
	CHECK_IS(v & 0xffffffff, 'x' | 'y' << 8 | 'z' << 16);
	rt_mmu_zap(&w.mmu, a, 4); /* and its own entries */
	LOADS(b, 1, 6);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, a, 4), 0);
	STORES(b, 1, 7);
	rt_view_close(&w.mmu, a, PAGES(4));
	LOADS(b, 1, 7);
	rt_view_close(&w.mmu, b, PAGES(2));
	world_close(&w);
}

static void protecting_what_is_not_mapped_maps_nothing(void)
{
	struct world w;

	world_open(&w, 2);
	world_fill(&w, 0, 1, 210);
	uint64_t v = world_view(&w, 0, 2, RW, 0);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 2), 0);
	FAULTS(v, false);
	FAULTS(v + RT_PAGE, true);
	CHECK_IS(rt_mmu_unprotect(&w.mmu, v, 2), 0);
	FAULTS(v, true);
	CHECK_IS(rt_mmu_wrprotect(&w.mmu, v, 2), 0);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, false), 1); /* what map says is what is */
	STORES(v, 0, 1);
	token_put(w.buf, 211);
	CHECK_IS(rt_mmu_copy(&w.mmu, v + RT_PAGE, w.buf, false), 0);
	STORES(v + RT_PAGE, 0, 1);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

/* --- against a thread that touches the page all the time ---------------------------- */

struct busy {
	struct world w;
	uint64_t v;
	bool write;
	rt_u32 touched, changed, stop;
	enum touch after; /* what it must get once changed is set */
	uint64_t n;       /* stored last */
};

static void touch_all_the_time(void *arg)
{
	struct busy *b = arg;

	while (!rt_load_u32(&b->stop, RT_ACQUIRE)) {
		bool changed = rt_load_u32(&b->changed, RT_ACQUIRE);
		uint64_t value = b->n + 1;
		enum touch how = driver_touch(b->v, 0, b->write, &value);
		if (how == TOUCH_OK && b->write)
			b->n = value;
		if (changed)
			CHECK_IS(how, b->after);
		else
			CHECK(how == TOUCH_OK || how == b->after);
		rt_store_u32(&b->touched, 1, RT_RELEASE);
		rt_relax();
	}
}

static void busy_begin(struct busy *b, struct rt_thread *t, bool write, enum touch after)
{
	*b = (struct busy){ .write = write, .after = after };
	world_open(&b->w, 2);
	world_fill(&b->w, 0, 2, 220);
	b->v = world_view(&b->w, 0, 2, RW, 0);
	CHECK_IS(rt_mmu_map(&b->w.mmu, b->v, 2, false), 2);
	thread_begin(t, touch_all_the_time, b);
	until(&b->touched, 1);
}

/* The change is made. Let the thread touch the page once more, at least. */
static void busy_changed(struct busy *b)
{
	rt_store_u32(&b->changed, 1, RT_RELEASE);
	for (unsigned i = 0; i < 2; i++) {
		rt_store_u32(&b->touched, 0, RT_RELEASE);
		until(&b->touched, 1);
	}
}

static void busy_end(struct busy *b, struct rt_thread *t)
{
	rt_store_u32(&b->stop, 1, RT_RELEASE);
	rt_thread_join(t);
	rt_view_close(&b->w.mmu, b->v, PAGES(2));
	world_close(&b->w);
}

static void after_a_zap_no_thread_uses_the_old_translation(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1, TOUCH_FAULT);
		rt_mmu_zap(&b.w.mmu, b.v, 1);
		busy_changed(&b);
		busy_end(&b, &t);
	}
}

static void after_a_drop_no_thread_uses_the_old_page(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1, TOUCH_FAULT);
		CHECK_IS(rt_object_drop(&b.w.object, 0, 1), 0);
		busy_changed(&b);
		busy_end(&b, &t);
	}
}

static void after_wrprotect_no_store_arrives(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, true, TOUCH_FAULT);
		CHECK_IS(rt_mmu_wrprotect(&b.w.mmu, b.v, 1), 0);
		uint64_t before = world_word(&b.w, 0, 0);
		busy_changed(&b);
		CHECK_IS(world_word(&b.w, 0, 0), before);
		busy_end(&b, &t);
	}
}

static void after_a_close_every_thread_is_refused(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, true, TOUCH_SEGV);
		rt_view_close(&b.w.mmu, b.v, RT_PAGE);
		busy_changed(&b);
		busy_end(&b, &t);
	}
}

static void after_protect_every_thread_has_the_new_rights(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1, TOUCH_SEGV);
		CHECK_IS(rt_view_protect(&b.w.mmu, b.v, PAGES(2), i & 1 ? RT_READ : 0), 0);
		busy_changed(&b);
		busy_end(&b, &t);
	}
}

TESTS(view, TEST(every_touch_faults_first), TEST(map_shows_the_page),
      TEST(write_protected_it_is_read_and_faults_on_writing), TEST(zap_unmaps_and_the_page_stays),
      TEST(drop_unmaps_everywhere), TEST(a_hole_is_not_mapped),
      TEST(with_a_hole_in_the_middle_the_front_is_mapped),
      TEST(what_is_mapped_counts_and_keeps_its_protection), TEST(outside_a_view_nothing_is_mapped),
      TEST(a_reserved_range_is_no_view), TEST(past_the_object_nothing_is_there),
      TEST(copy_fills_and_maps), TEST(copy_is_refused_where_something_is),
      TEST(rights_decide_before_mapping_does), TEST(new_rights_leave_pages_mapped),
      TEST(mapped_read_only_it_is_written_once_it_may_be), TEST(who_may_write_may_read),
      TEST(a_part_has_rights_of_its_own), TEST(what_is_no_view_has_no_rights),
      TEST(a_closed_view_is_refused), TEST(a_parted_range_is_a_view_of_its_own),
      TEST(a_new_view_there_shows_nothing_of_the_old), TEST(fixed_replaces_what_is_there),
      TEST(noreplace_refuses_what_is_taken), TEST(a_wish_is_granted_if_it_is_free),
      TEST(what_is_reserved_is_taken), TEST(two_views_show_one_page),
      TEST(protecting_what_is_not_mapped_maps_nothing),
      TEST(after_a_zap_no_thread_uses_the_old_translation),
      TEST(after_a_drop_no_thread_uses_the_old_page), TEST(after_wrprotect_no_store_arrives),
      TEST(after_a_close_every_thread_is_refused),
      TEST(after_protect_every_thread_has_the_new_rights));
