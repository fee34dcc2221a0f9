/* SPDX-License-Identifier: MIT */
/*
 * anon.c - views without an object, and the frames where their pages wait.
 *
 * Calls that may do less than they were asked for are gone on with: fills(), takes(),
 * puts() and moves() do the whole range; their _until() do what goes, and say how many
 * pages that was and what stopped them.
 */
#include <string.h>

#include "base/bitmap.h"
#include "contract.h"

#define RW (RT_READ | RT_WRITE)

#define FRAMES                  12 /* of the pool */
#define FRAME_WORD(a, frame, k) page_word(rt_pool_at(&(a)->pool, frame), k)

/* Pages under one table, where the machine has some; a run of them that is long, and one
 * that is so without a hole. */
#define TABLE (RT_PAGE / 8)
#define RUN   (TABLE < 64 ? 20 : 2 * TABLE + 20)
#define DENSE (TABLE < 64 ? 6 : 80)

struct anon {
	struct world w;
	struct rt_pool pool;
};

static void anon_open(struct anon *a, uint64_t frames)
{
	world_open(&a->w, 1);
	CHECK_IS(rt_pool_open(&a->w.mmu, &a->pool, frames), 0);
}

static void anon_close(struct anon *a)
{
	rt_pool_close(&a->w.mmu, &a->pool);
	world_close(&a->w);
}

static uint64_t anon_view(struct anon *a, uint64_t pages, unsigned rights)
{
	uint64_t addr = 0;

	CHECK_IS(rt_view_open(&a->w.mmu, NULL, 0, PAGES(pages), rights, RT_VIEW_PRIVATE, &addr), 0);
	CHECK(addr != 0);
	CHECK_IS(addr % RT_PAGE, 0);
	return addr;
}

static void view_close(struct anon *a, uint64_t addr, uint64_t pages)
{
	rt_view_close(&a->w.mmu, addr, PAGES(pages));
}

/* --- the four, as far as they go --------------------------------------------------- */

struct range {
	struct anon *a;
	uint64_t addr, n;
	uint64_t frame; /* take, put */
	struct rt_pool *pool;
	const uint64_t *there; /* take */
	uint64_t from;         /* move */
	const char *buf;       /* fill */
	bool wp;
};

static int64_t fill_some(const struct range *r, uint64_t done)
{
	return rt_mmu_fill(&r->a->w.mmu, r->addr + PAGES(done), r->buf + PAGES(done), r->n - done,
			   r->wp);
}

static int64_t take_some(const struct range *r, uint64_t done)
{
	uint64_t there[BITMAP_WORDS(RUN)] = { 0 };

	for (uint64_t i = done; i < r->n && r->there; i++)
		if (bitmap_test(r->there, i))
			bitmap_set_run(there, i - done, 1);
	return take_row(&r->a->w.mmu, r->pool ? r->pool : &r->a->pool, r->addr + PAGES(done),
			r->frame + done, r->n - done, r->there ? there : NULL);
}

static int64_t put_some(const struct range *r, uint64_t done)
{
	return rt_mmu_put(&r->a->w.mmu, &r->a->pool, r->addr + PAGES(done), r->frame + done,
			  r->n - done);
}

static int64_t move_some(const struct range *r, uint64_t done)
{
	return rt_mmu_move(&r->a->w.mmu, r->addr + PAGES(done), r->from + PAGES(done), r->n - done);
}

/* Until it is done, or cannot be: *err, else 0. Returns the pages. */
static uint64_t go_on(int64_t (*some)(const struct range *r, uint64_t done), struct range r,
		      int *err)
{
	uint64_t done = 0;

	*err = 0;
	while (done < r.n) {
		int64_t n = some(&r, done);
		CHECK(n != 0);
		CHECK(n <= (int64_t)(r.n - done));
		if (n > 0) {
			done += (uint64_t)n;
		} else if (n != -EAGAIN && n != -EBUSY) {
			*err = (int)n;
			break;
		}
	}
	return done;
}

static void go_all(int64_t (*some)(const struct range *r, uint64_t done), struct range r)
{
	int err;
	uint64_t done = go_on(some, r, &err);

	CHECK_IS(err, 0);
	CHECK_IS(done, r.n);
}

/* Nothing of it is done, because of err. */
static void go_none(int64_t (*some)(const struct range *r, uint64_t done), struct range r, int want)
{
	int err;

	CHECK_IS(go_on(some, r, &err), 0);
	CHECK_IS(err, want);
}

/* Pages of tokens token, token + 1 ... */
static char *pages_of(uint64_t n, uint64_t token)
{
	char *buf = rt_pages_alloc(PAGES(n));

	CHECK(buf);
	for (uint64_t i = 0; i < n; i++)
		token_put(buf + PAGES(i), token + i);
	return buf;
}

static uint64_t fills_until(struct anon *a, uint64_t addr, uint64_t n, uint64_t token, bool wp,
			    int *err)
{
	char *buf = pages_of(n, token);
	uint64_t done =
		go_on(fill_some,
		      (struct range){ .a = a, .addr = addr, .n = n, .buf = buf, .wp = wp }, err);

	rt_pages_free(buf, PAGES(n));
	return done;
}

static void fills(struct anon *a, uint64_t addr, uint64_t n, uint64_t token, bool wp)
{
	int err;

	CHECK_IS(fills_until(a, addr, n, token, wp, &err), n);
	CHECK_IS(err, 0);
}

static struct range frames_at(struct anon *a, uint64_t addr, uint64_t frame, uint64_t n)
{
	return (struct range){ .a = a, .addr = addr, .frame = frame, .n = n };
}

static void takes(struct anon *a, uint64_t addr, uint64_t frame, uint64_t n)
{
	go_all(take_some, frames_at(a, addr, frame, n));
}

/* ... of which those are mapped whose bits are set. */
static void takes_some(struct anon *a, uint64_t addr, uint64_t frame, uint64_t n,
		       const uint64_t *there)
{
	struct range r = frames_at(a, addr, frame, n);

	r.there = there;
	go_all(take_some, r);
}

static void puts_back(struct anon *a, uint64_t addr, uint64_t frame, uint64_t n)
{
	go_all(put_some, frames_at(a, addr, frame, n));
}

static void moves(struct anon *a, uint64_t to, uint64_t from, uint64_t n)
{
	go_all(move_some, (struct range){ .a = a, .addr = to, .from = from, .n = n });
}

/* Page by page: tokens from token on; nothing; in the frames. */
static void shows(uint64_t addr, uint64_t n, uint64_t token)
{
	for (uint64_t i = 0; i < n; i++)
		for (unsigned k = 0; k < WORDS; k++)
			LOADS(addr + PAGES(i), k, token_word(token + i, k));
}

static void all_fault(uint64_t addr, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		FAULTS(addr + PAGES(i), false);
		FAULTS(addr + PAGES(i), true);
	}
}

static void holds(struct anon *a, uint64_t frame, uint64_t n, uint64_t token)
{
	for (uint64_t i = 0; i < n; i++)
		for (unsigned k = 0; k < WORDS; k++)
			CHECK_IS(FRAME_WORD(a, frame + i, k), token_word(token + i, k));
}

/* --- fill ----------------------------------------------------------------------------- */

static void there_is_nothing_under_its_pages(void)
{
	struct anon a;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 3, RW);
	all_fault(v, 3);
	fills(&a, v + PAGES(1), 1, 10, false);
	all_fault(v, 1);
	all_fault(v + PAGES(2), 1);
	rt_mmu_zap(&a.w.mmu, v, 3);
	all_fault(v, 3);
	view_close(&a, v, 3);
	for (unsigned i = 0; i < 3; i++)
		REFUSES(v + PAGES(i), false);
	anon_close(&a);
}

static void the_index_is_of_no_account(void)
{
	struct anon a;
	uint64_t v = 0;

	anon_open(&a, 2);
	CHECK_IS(rt_view_open(&a.w.mmu, NULL, 1ull << 40, PAGES(2), RW, RT_VIEW_PRIVATE, &v), 0);
	fills(&a, v, 2, 15, false);
	takes(&a, v, 0, 2);
	all_fault(v, 2);
	puts_back(&a, v, 0, 2);
	shows(v, 2, 15);
	view_close(&a, v, 2);
	anon_close(&a);
}

static void fill_maps_the_content(void)
{
	struct anon a;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 6, RW);
	fills(&a, v + PAGES(1), 4, 20, false);
	shows(v + PAGES(1), 4, 20);
	all_fault(v, 1);
	all_fault(v + PAGES(5), 1);
	/* They are its own: the buffer is not looked at again, nor written to. */
	token_put(a.w.buf, 30);
	CHECK_IS(rt_mmu_fill(&a.w.mmu, v, a.w.buf, 1, false), 1);
	token_put(a.w.buf, 31);
	shows(v, 1, 30);
	STORES(v, 0, 1);
	CHECK_IS(page_word(a.w.buf, 0), token_word(31, 0));
	shows(v + PAGES(1), 4, 20);
	view_close(&a, v, 6);
	anon_close(&a);
}

static void filled_write_protected_the_first_write_faults(void)
{
	struct anon a;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 3, RW);
	fills(&a, v, 2, 40, true);
	fills(&a, v + PAGES(2), 1, 42, false);
	shows(v, 3, 40);
	FAULTS(v, true);
	FAULTS(v + PAGES(1), true);
	STORES(v + PAGES(2), 0, 1);
	CHECK_IS(rt_mmu_unprotect(&a.w.mmu, v, 1), 0);
	STORES(v, 0, 2);
	FAULTS(v + PAGES(1), true);
	CHECK_IS(rt_mmu_wrprotect(&a.w.mmu, v, 3), 0);
	FAULTS(v, true);
	FAULTS(v + PAGES(2), true);
	LOADS(v, 0, 2);
	CHECK_IS(rt_mmu_unprotect(&a.w.mmu, v, 3), 0);
	STORES(v + PAGES(1), 0, 3);
	view_close(&a, v, 3);
	anon_close(&a);
}

static void no_protection_stays_where_no_page_is(void)
{
	struct anon a;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 3, RW);
	CHECK_IS(rt_mmu_wrprotect(&a.w.mmu, v, 3), 0);
	all_fault(v, 3);
	fills(&a, v, 1, 45, false);
	STORES(v, 0, 1);
	fills(&a, v + PAGES(1), 1, 46, true); /* zapped, and taken */
	rt_mmu_zap(&a.w.mmu, v + PAGES(1), 1);
	fills(&a, v + PAGES(1), 1, 47, false);
	STORES(v + PAGES(1), 0, 1);
	fills(&a, v + PAGES(2), 1, 48, true);
	takes(&a, v + PAGES(2), 0, 1);
	fills(&a, v + PAGES(2), 1, 49, false);
	STORES(v + PAGES(2), 0, 1);
	view_close(&a, v, 3);
	anon_close(&a);
}

static void fill_stops_at_what_is_mapped(void)
{
	struct anon a;
	int err;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 5, RW);
	fills(&a, v + PAGES(3), 1, 50, true);
	go_none(fill_some, (struct range){ .a = &a, .addr = v + PAGES(3), .n = 2, .buf = a.w.buf },
		-EEXIST);
	CHECK_IS(fills_until(&a, v, 5, 60, false, &err), 3);
	CHECK_IS(err, -EEXIST);
	shows(v, 3, 60);
	STORES(v + PAGES(2), 0, 1);
	shows(v + PAGES(3), 1, 50); /* as it was */
	FAULTS(v + PAGES(3), true);
	all_fault(v + PAGES(4), 1);
	view_close(&a, v, 5);
	anon_close(&a);
}

static void fill_reads_a_frame_of_the_pool(void)
{
	struct anon a;

	anon_open(&a, 3);
	uint64_t v = anon_view(&a, 2, RW), readonly = anon_view(&a, 2, RT_READ);
	fills(&a, v, 2, 70, false);
	takes(&a, v, 1, 2);
	go_all(fill_some, (struct range){ .a = &a,
					  .addr = readonly,
					  .n = 2,
					  .buf = rt_pool_at(&a.pool, 1),
					  .wp = true });
	shows(readonly, 2, 70);
	holds(&a, 1, 2, 70); /* there still */
	puts_back(&a, v, 1, 2);
	STORES(v, 0, 1);
	shows(readonly, 2, 70);
	view_close(&a, v, 2);
	view_close(&a, readonly, 2);
	anon_close(&a);
}

/* --- take ------------------------------------------------------------------------------- */

static void what_is_taken_waits_in_its_frames(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 6, RW);
	fills(&a, v, 6, 80, false);
	STORES(v + PAGES(2), 1, 4711);
	takes(&a, v + PAGES(1), 5, 3);
	all_fault(v + PAGES(1), 3);
	shows(v, 1, 80);
	shows(v + PAGES(4), 2, 84);
	holds(&a, 5, 1, 81);
	CHECK_IS(FRAME_WORD(&a, 6, 0), token_word(82, 0));
	CHECK_IS(FRAME_WORD(&a, 6, 1), 4711);
	holds(&a, 7, 1, 83);
	/* Another page there is another page. */
	fills(&a, v + PAGES(1), 1, 90, false);
	STORES(v + PAGES(1), 0, 1);
	holds(&a, 5, 1, 81);
	view_close(&a, v, 6);
	holds(&a, 5, 1, 81);
	anon_close(&a);
}

static void each_page_goes_to_the_frame_it_is_told(void)
{
	static const uint32_t frame[] = { 7, 2, 3, 0, 1, 5 };
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 6, RW), done = 0;
	fills(&a, v, 6, 80, false);
	while (done < 6) {
		int64_t n = rt_mmu_take(&a.w.mmu, &a.pool, v + PAGES(done), frame + done, 6 - done,
					NULL);
		CHECK(n > 0 || n == -EAGAIN || n == -EBUSY);
		done += n > 0 ? (uint64_t)n : 0;
	}
	all_fault(v, 6);
	for (uint64_t i = 0; i < 6; i++)
		holds(&a, frame[i], 1, 80 + i);
	view_close(&a, v, 6);
	anon_close(&a);
}

static void frames_in_a_row_lie_in_a_row(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, FRAMES, RW);
	fills(&a, v, FRAMES, 100, false);
	for (uint64_t i = 0; i < FRAMES; i++) /* in no order */
		takes(&a, v + PAGES(i * 5 % FRAMES), i * 5 % FRAMES, 1);
	const char *first = rt_pool_at(&a.pool, 0);
	for (uint64_t i = 0; i < FRAMES; i++)
		CHECK_IS(page_word(first + PAGES(i), 1), token_word(100 + i, 1));
	view_close(&a, v, FRAMES);
	anon_close(&a);
}

static void holes_are_passed_over(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 8, RW);
	takes_some(&a, v, 0, 8, &(uint64_t){ 0 });
	all_fault(v, 8);
	fills(&a, v + PAGES(2), 1, 110, false);
	fills(&a, v + PAGES(4), 2, 112, true);
	takes_some(&a, v, 2, 8, &(uint64_t){ 0x34 });
	all_fault(v, 8);
	holds(&a, 4, 1, 110);
	holds(&a, 6, 2, 112);
	/* The frames of holes are not there: they can be taken into. */
	fills(&a, v, 1, 120, false);
	fills(&a, v + PAGES(3), 1, 121, false);
	takes_some(&a, v, 2, 2, &(uint64_t){ 1 });
	takes(&a, v + PAGES(3), 5, 1);
	holds(&a, 2, 1, 120);
	holds(&a, 4, 1, 110);
	holds(&a, 5, 1, 121);
	puts_back(&a, v, 4, 4);
	shows(v, 1, 110);
	shows(v + PAGES(1), 1, 121);
	shows(v + PAGES(2), 2, 112);
	view_close(&a, v, 8);
	anon_close(&a);
}

static void what_can_only_be_read_is_taken(void)
{
	struct anon a;

	anon_open(&a, 4);
	uint64_t v = anon_view(&a, 4, RT_READ);
	fills(&a, v, 2, 130, false);
	fills(&a, v + PAGES(2), 1, 132, true);
	takes_some(&a, v, 0, 4, &(uint64_t){ 7 });
	for (unsigned i = 0; i < 4; i++)
		FAULTS(v + PAGES(i), false);
	holds(&a, 0, 3, 130);
	view_close(&a, v, 4);
	/* What may be written may be read. */
	v = anon_view(&a, 1, RT_WRITE);
	fills(&a, v, 1, 133, false);
	takes(&a, v, 3, 1);
	FAULTS(v, false);
	holds(&a, 0, 4, 130);
	view_close(&a, v, 1);
	anon_close(&a);
}

/* The middle of DENSE pages from there on is where a table begins. */
static uint64_t before_table(uint64_t v)
{
	uint64_t table = PAGES(TABLE), half = PAGES(DENSE / 2);

	return (v + half + table - 1) / table * table - half;
}

static void a_run_crosses_tables(void)
{
	struct anon a;

	anon_open(&a, DENSE + 2);
	uint64_t v = anon_view(&a, 2 * TABLE, RW), other = anon_view(&a, 2 * TABLE, RW);
	uint64_t at = before_table(v), to = before_table(other);
	fills(&a, at, DENSE, 140, false);
	takes(&a, at, 2, DENSE);
	all_fault(at, DENSE);
	holds(&a, 2, DENSE, 140);
	puts_back(&a, at, 2, DENSE);
	shows(at, DENSE, 140);
	moves(&a, to, at, DENSE);
	all_fault(at, DENSE);
	shows(to, DENSE, 140);
	view_close(&a, v, 2 * TABLE);
	view_close(&a, other, 2 * TABLE);
	anon_close(&a);
}

static void a_run_is_long_and_full_of_holes(void)
{
	static const unsigned mapped[] = { 0, 1, 7, RUN - 2, RUN - 1 };
	const uint64_t dense = RUN / 2 - RUN / 40;
	uint64_t there[BITMAP_WORDS(RUN)] = { 0 };
	struct anon a;

	anon_open(&a, RUN);
	uint64_t v = anon_view(&a, RUN, RW);
	for (unsigned i = 0; i < 5; i++) {
		fills(&a, v + PAGES(mapped[i]), 1, 500 + i, i == 2);
		bitmap_set_run(there, mapped[i], 1);
	}
	fills(&a, v + PAGES(dense), DENSE, 600, false);
	bitmap_set_run(there, dense, DENSE);
	CHECK_IS(rt_mmu_wrprotect(&a.w.mmu, v + PAGES(dense + 1), 2), 0);
	takes_some(&a, v, 0, RUN, there);
	for (uint64_t i = 0; i < RUN; i++)
		FAULTS(v + PAGES(i), false);
	for (unsigned i = 0; i < 5; i++)
		holds(&a, mapped[i], 1, 500 + i);
	holds(&a, dense, DENSE, 600);
	puts_back(&a, v + PAGES(3), RUN - 2, 2);
	shows(v + PAGES(3), 2, 503);
	puts_back(&a, v + PAGES(5), dense, DENSE);
	shows(v + PAGES(5), DENSE, 600);
	for (uint64_t i = 0; i < DENSE; i++)
		STORES(v + PAGES(5 + i), 0, 1);
	moves(&a, v + PAGES(RUN - DENSE), v + PAGES(5), DENSE);
	for (uint64_t i = 0; i < DENSE; i++)
		LOADS(v + PAGES(RUN - DENSE + i), 1, token_word(600 + i, 1));
	view_close(&a, v, RUN);
	anon_close(&a);
}

/* --- put -------------------------------------------------------------------------------- */

static void what_is_put_is_a_page_again(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 4, RW), other = anon_view(&a, 4, RW);
	fills(&a, v, 2, 160, true); /* whatever it was before: writable */
	fills(&a, v + PAGES(2), 2, 162, false);
	takes(&a, v, 1, 4);
	puts_back(&a, other + PAGES(2), 1, 2); /* anywhere */
	shows(other + PAGES(2), 2, 160);
	STORES(other + PAGES(2), 0, 1);
	STORES(other + PAGES(3), 1, 2);
	all_fault(other, 2);
	all_fault(v, 4);
	holds(&a, 3, 2, 162);
	/* Their frames are not there afterwards. */
	takes(&a, other + PAGES(2), 2, 1);
	CHECK_IS(FRAME_WORD(&a, 2, 0), 1);
	CHECK_IS(FRAME_WORD(&a, 2, 1), token_word(160, 1));
	takes(&a, other + PAGES(3), 1, 1);
	puts_back(&a, v, 1, 4);
	LOADS(v, 1, 2);
	LOADS(v + PAGES(1), 0, 1);
	shows(v + PAGES(2), 2, 162);
	view_close(&a, v, 4);
	view_close(&a, other, 4);
	anon_close(&a);
}

static void put_stops_at_what_is_mapped(void)
{
	struct anon a;
	int err;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 8, RW);
	fills(&a, v, 3, 170, false);
	takes(&a, v, 0, 3);
	fills(&a, v + PAGES(6), 1, 180, true);
	go_none(put_some, frames_at(&a, v + PAGES(6), 0, 2), -EEXIST);
	holds(&a, 0, 3, 170); /* there still */
	CHECK_IS(go_on(put_some, frames_at(&a, v + PAGES(4), 0, 3), &err), 2);
	CHECK_IS(err, -EEXIST);
	shows(v + PAGES(4), 2, 170);
	shows(v + PAGES(6), 1, 180); /* as it was */
	FAULTS(v + PAGES(6), true);
	holds(&a, 2, 1, 172);
	puts_back(&a, v + PAGES(7), 2, 1);
	shows(v + PAGES(7), 1, 172);
	view_close(&a, v, 8);
	anon_close(&a);
}

/* --- move --------------------------------------------------------------------------------- */

static void what_is_moved_is_there_and_not_here(void)
{
	struct anon a;

	anon_open(&a, 4);
	uint64_t v = anon_view(&a, 6, RW), other = anon_view(&a, 4, RW);
	fills(&a, v, 3, 190, false);
	fills(&a, v + PAGES(3), 1, 193, true); /* writable there, whatever it was */
	STORES(v + PAGES(1), 0, 7);
	moves(&a, other, v, 4);
	all_fault(v, 4);
	shows(other, 1, 190);
	LOADS(other + PAGES(1), 0, 7);
	shows(other + PAGES(2), 2, 192);
	for (unsigned i = 0; i < 4; i++)
		STORES(other + PAGES(i), 1, i);
	moves(&a, v + PAGES(4), other + PAGES(2), 2);
	moves(&a, v + PAGES(2), v + PAGES(4), 2); /* within a view */
	all_fault(v + PAGES(4), 2);
	LOADS(v + PAGES(3), 0, token_word(193, 0));
	LOADS(v + PAGES(3), 1, 3);
	takes(&a, v + PAGES(2), 0, 2);
	CHECK_IS(FRAME_WORD(&a, 0, 1), 2);
	view_close(&a, v, 6);
	LOADS(other, 1, 0);
	view_close(&a, other, 4);
	anon_close(&a);
}

static void move_stops_at_what_is_mapped(void)
{
	struct anon a;
	int err;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 4, RW), other = anon_view(&a, 4, RW);
	fills(&a, v, 4, 200, false);
	fills(&a, other + PAGES(2), 1, 210, true);
	go_none(move_some, (struct range){ .a = &a, .addr = other + PAGES(2), .from = v, .n = 2 },
		-EEXIST);
	shows(v, 4, 200);
	CHECK_IS(
		go_on(move_some, (struct range){ .a = &a, .addr = other, .from = v, .n = 4 }, &err),
		2);
	CHECK_IS(err, -EEXIST);
	all_fault(v, 2);
	shows(other, 2, 200);
	shows(v + PAGES(2), 2, 202);
	shows(other + PAGES(2), 1, 210);
	FAULTS(other + PAGES(2), true);
	all_fault(other + PAGES(3), 1);
	view_close(&a, v, 4);
	view_close(&a, other, 4);
	anon_close(&a);
}

/* --- where there is no view, and where there are two ----------------------------------------- */

/* From the page before `at`, two pages: what is mapped at v and waits in frame 0 stays. */
static void none_goes_over(struct anon *a, uint64_t at, uint64_t v)
{
	go_none(fill_some,
		(struct range){
			.a = a, .addr = at - RT_PAGE, .n = 2, .buf = rt_pool_at(&a->pool, 0) },
		-ENOENT);
	go_none(take_some, frames_at(a, at - RT_PAGE, 2, 2), -ENOENT);
	go_none(put_some, frames_at(a, at - RT_PAGE, 0, 2), -ENOENT);
	go_none(move_some, (struct range){ .a = a, .addr = at - RT_PAGE, .from = v, .n = 2 },
		-ENOENT);
	FAULTS(at - RT_PAGE, false);
	shows(v, 2, 220);
	holds(a, 0, 2, 230);
}

static void a_range_lies_in_one_view(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 10, RW), room = v + PAGES(8);
	view_close(&a, room, 2);
	fills(&a, v, 2, 230, false);
	takes(&a, v, 0, 2);
	fills(&a, v, 2, 220, false);
	/* The end of a view, and where its neighbour has other rights. */
	none_goes_over(&a, room, v);
	CHECK_IS(rt_view_protect(&a.w.mmu, v + PAGES(4), PAGES(2), RT_READ), 0);
	none_goes_over(&a, v + PAGES(4), v);
	none_goes_over(&a, v + PAGES(6), v);
	/* Outside of any; and moved out of it. */
	go_none(fill_some, (struct range){ .a = &a, .addr = room, .n = 1, .buf = a.w.buf },
		-ENOENT);
	go_none(take_some, frames_at(&a, room, 2, 1), -ENOENT);
	go_none(put_some, frames_at(&a, room, 0, 1), -ENOENT);
	go_none(move_some, (struct range){ .a = &a, .addr = room, .from = v, .n = 1 }, -ENOENT);
	go_none(move_some, (struct range){ .a = &a, .addr = v + PAGES(2), .from = room, .n = 1 },
		-ENOENT);
	view_close(&a, v, 8);
	anon_close(&a);
}

/* --- what is as in any view ------------------------------------------------------------------- */

static void zap_loses_what_is_mapped(void)
{
	struct anon a;

	anon_open(&a, 2);
	uint64_t v = anon_view(&a, 4, RW);
	fills(&a, v, 4, 240, false);
	takes(&a, v + PAGES(1), 0, 1);
	rt_mmu_zap(&a.w.mmu, v, 3);
	all_fault(v, 3);
	shows(v + PAGES(3), 1, 243);
	holds(&a, 0, 1, 241); /* not what was taken */
	fills(&a, v, 1, 250, false);
	puts_back(&a, v + PAGES(1), 0, 1);
	shows(v, 1, 250);
	shows(v + PAGES(1), 1, 241);
	view_close(&a, v, 4);
	anon_close(&a);
}

static void new_rights_leave_pages_mapped(void)
{
	struct anon a;

	anon_open(&a, 1);
	uint64_t v = anon_view(&a, 4, RT_READ);
	fills(&a, v, 2, 260, false);
	fills(&a, v + PAGES(2), 1, 262, true);
	shows(v, 3, 260);
	REFUSES(v, true);
	REFUSES(v + PAGES(3), true);
	CHECK_IS(rt_view_protect(&a.w.mmu, v, PAGES(4), RW), 0);
	shows(v, 3, 260);
	STORES(v, 0, 1);
	STORES(v + PAGES(1), 0, 2);
	FAULTS(v + PAGES(2), true);
	all_fault(v + PAGES(3), 1);
	CHECK_IS(rt_view_protect(&a.w.mmu, v, PAGES(4), 0), 0);
	for (unsigned i = 0; i < 4; i++)
		REFUSES(v + PAGES(i), false);
	fills(&a, v + PAGES(3), 1, 263, false); /* for whoever may see it later */
	CHECK_IS(rt_view_protect(&a.w.mmu, v, PAGES(4), RW), 0);
	LOADS(v, 0, 1);
	FAULTS(v + PAGES(2), true);
	STORES(v + PAGES(3), 1, 3);
	LOADS(v + PAGES(3), 0, token_word(263, 0));
	view_close(&a, v, 4);
	anon_close(&a);
}

static void parts_keep_their_pages(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 6, RW);
	fills(&a, v, 5, 270, false);
	CHECK_IS(rt_view_protect(&a.w.mmu, v + PAGES(2), PAGES(2), RT_READ), 0);
	shows(v, 5, 270);
	STORES(v, 1, 1);
	REFUSES(v + PAGES(2), true);
	REFUSES(v + PAGES(3), true);
	STORES(v + PAGES(4), 1, 1);
	FAULTS(v + PAGES(5), true);
	/* Each is taken for itself. */
	takes(&a, v, 0, 2);
	takes(&a, v + PAGES(2), 2, 2);
	takes_some(&a, v + PAGES(4), 4, 2, &(uint64_t){ 1 });
	CHECK_IS(FRAME_WORD(&a, 1, 0), token_word(271, 0));
	holds(&a, 2, 2, 272);
	CHECK_IS(rt_view_protect(&a.w.mmu, v + PAGES(2), PAGES(2), RW), 0);
	for (unsigned i = 0; i < 5; i++)
		puts_back(&a, v + PAGES(i), i, 1);
	for (unsigned i = 0; i < 5; i++)
		LOADS(v + PAGES(i), 0, token_word(270 + i, 0));
	CHECK_IS(rt_view_part(&a.w.mmu, v + PAGES(1), PAGES(1)), 0);
	STORES(v + PAGES(1), 1, 2);
	CHECK_IS(rt_mmu_wrprotect(&a.w.mmu, v, 6), 0); /* over all of them */
	FAULTS(v + PAGES(1), true);
	FAULTS(v + PAGES(4), true);
	CHECK_IS(rt_mmu_unprotect(&a.w.mmu, v, 6), 0);
	STORES(v + PAGES(3), 1, 3);
	rt_view_close(&a.w.mmu, v + PAGES(1), PAGES(1));
	REFUSES(v + PAGES(1), false);
	LOADS(v, 1, 1);
	LOADS(v + PAGES(3), 1, 3);
	rt_mmu_zap(&a.w.mmu, v, 6);
	FAULTS(v, false);
	all_fault(v + PAGES(2), 4);
	view_close(&a, v, 6);
	anon_close(&a);
}

static void a_view_is_closed_with_its_pages(void)
{
	struct anon a;

	anon_open(&a, 2);
	uint64_t v = anon_view(&a, 4, RW), at = v;
	fills(&a, v, 2, 280, false);
	fills(&a, v + PAGES(2), 2, 282, true);
	view_close(&a, v, 4);
	for (unsigned i = 0; i < 4; i++)
		REFUSES(v + PAGES(i), false);
	CHECK_IS(
		rt_view_open(&a.w.mmu, NULL, 0, PAGES(4), RW, RT_VIEW_PRIVATE | RT_VIEW_FIXED, &at),
		0);
	CHECK(at == v);
	all_fault(v, 4); /* nothing of the old one */
	fills(&a, v, 2, 290, false);
	/* One is replaced, by one of its kind and by one of an object. */
	at = v + PAGES(1);
	CHECK_IS(
		rt_view_open(&a.w.mmu, NULL, 0, PAGES(1), RW, RT_VIEW_PRIVATE | RT_VIEW_FIXED, &at),
		0);
	all_fault(v + PAGES(1), 1);
	shows(v, 1, 290);
	world_fill(&a.w, 0, 1, 300);
	at = v;
	CHECK_IS(rt_view_open(&a.w.mmu, &a.w.object, 0, PAGES(1), RW, RT_VIEW_FIXED, &at), 0);
	all_fault(v, 1);
	CHECK_IS(rt_mmu_map(&a.w.mmu, v, 1, false), 1);
	shows(v, 1, 300);
	CHECK_IS(rt_object_drop(&a.w.object, 0, 1), 0);
	fills(&a, v + PAGES(2), 2, 310, false);
	view_close(&a, v, 4);
	anon_close(&a);
}

/* --- the pool -----------------------------------------------------------------------------------
 */

static void dropped_frames_are_not_there(void)
{
	struct anon a;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 5, RW);
	fills(&a, v, 5, 320, false);
	takes(&a, v, 1, 5);
	rt_pool_drop(&a.w.mmu, &a.pool, 2, 2);
	holds(&a, 1, 1, 320);
	holds(&a, 4, 2, 323);
	rt_pool_drop(&a.w.mmu, &a.pool, 2, 2); /* nothing there: nothing */
	rt_pool_drop(&a.w.mmu, &a.pool, 0, 2); /* one there, one not */
	holds(&a, 4, 2, 323);
	fills(&a, v, 4, 330, false);
	takes(&a, v, 0, 4); /* into those */
	holds(&a, 0, 4, 330);
	puts_back(&a, v, 0, 5);
	shows(v, 4, 330);
	shows(v + PAGES(4), 1, 323);
	view_close(&a, v, 5);
	anon_close(&a);
}

static void pools_are_apart(void)
{
	struct anon a;
	struct rt_pool other;

	anon_open(&a, 4);
	CHECK_IS(rt_pool_open(&a.w.mmu, &other, 4), 0);
	uint64_t v = anon_view(&a, 4, RW);
	fills(&a, v, 4, 340, false);
	takes(&a, v, 0, 2);
	go_all(take_some, (struct range){ .a = &a, .addr = v + PAGES(2), .n = 2, .pool = &other });
	holds(&a, 0, 2, 340);
	CHECK_IS(page_word(rt_pool_at(&other, 1), 0), token_word(343, 0));
	rt_pool_drop(&a.w.mmu, &a.pool, 0, 4);
	CHECK_IS(page_word(rt_pool_at(&other, 0), 0), token_word(342, 0));
	/* A pool is closed with frames there; one that is opened then has none. */
	rt_pool_close(&a.w.mmu, &other);
	CHECK_IS(rt_pool_open(&a.w.mmu, &other, 4), 0);
	rt_pool_close(&a.w.mmu, &a.pool);
	a.pool = other;
	fills(&a, v, 4, 350, false);
	takes(&a, v, 0, 4);
	holds(&a, 0, 4, 350);
	view_close(&a, v, 4);
	anon_close(&a);
}

struct write {
	struct rt_io io;
	rt_u32 done;
};

static void write_done(struct rt_io *io)
{
	struct write *w = (struct write *)io;

	rt_store_u32(&w->done, 1, RT_RELEASE);
}

/* Frames 1, 2 and 3 to pages 0 .. 2 of the file: by a call, and by the queue. */
static void frames_are_written_to_a_file(void)
{
	struct anon a;
	struct rt_file f;
	struct rt_ioq q;
	char *buf;

	anon_open(&a, FRAMES);
	uint64_t v = anon_view(&a, 3, RW);
	CHECK_IS(rt_file_open(&f, driver_file(PAGES(4)), true, true), 0);
	CHECK_IS(rt_ioq_open(&q), 0);
	buf = rt_pages_alloc(PAGES(3));
	struct write *w = rt_pages_alloc(sizeof(*w));
	CHECK(buf);
	CHECK(w);
	for (unsigned how = 0; how < 2; how++) {
		fills(&a, v, 3, 360 + 10 * how, false);
		takes(&a, v, 1, 3);
		char *from = rt_pool_at(&a.pool, 1);
		for (size_t done = 0; done < PAGES(3);) {
			int64_t n;
			if (how == 0) {
				n = rt_file_write(&f, from + done, PAGES(3) - done, done);
			} else {
				*w = (struct write){ .io = { .file = &f,
							     .buf = from + done,
							     .len = PAGES(3) - done,
							     .off = done,
							     .write = true,
							     .done = write_done } };
				rt_ioq_submit(&q, &w->io, false);
				until(&w->done, 1);
				n = w->io.res;
			}
			CHECK(n > 0);
			done += (size_t)n;
		}
		for (size_t done = 0; done < PAGES(3);) {
			int64_t n = rt_file_read(&f, buf + done, PAGES(3) - done, done);
			CHECK(n > 0);
			done += (size_t)n;
		}
		for (unsigned i = 0; i < 3; i++)
			CHECK_IS(page_word(buf + PAGES(i), 1), token_word(360 + 10 * how + i, 1));
		holds(&a, 1, 3, 360 + 10 * how);
		rt_pool_drop(&a.w.mmu, &a.pool, 1, 3);
	}
	rt_ioq_close(&q);
	rt_file_close(&f);
	rt_pages_free(buf, PAGES(3));
	rt_pages_free(w, sizeof(*w));
	view_close(&a, v, 3);
	anon_close(&a);
}

/* --- against a thread that touches the page all the time ---------------------------------------
 */

struct busy {
	struct anon a;
	uint64_t v;
	bool write;
	rt_u32 touched, changed, stop;
	uint64_t n; /* stored last */
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
		CHECK(how == TOUCH_FAULT || (how == TOUCH_OK && !changed));
		rt_store_u32(&b->touched, 1, RT_RELEASE);
		rt_relax();
	}
}

static void busy_begin(struct busy *b, struct rt_thread *t, bool write)
{
	*b = (struct busy){ .write = write };
	anon_open(&b->a, 4);
	b->v = anon_view(&b->a, 3, RW);
	fills(&b->a, b->v, 3, 400, false);
	thread_begin(t, touch_all_the_time, b);
	until(&b->touched, 1);
}

/* The change is made: the thread touches the page once more, at least, and ends. Returns
 * what it has stored last. */
static uint64_t busy_changed(struct busy *b, struct rt_thread *t)
{
	rt_store_u32(&b->changed, 1, RT_RELEASE);
	for (unsigned i = 0; i < 2; i++) {
		rt_store_u32(&b->touched, 0, RT_RELEASE);
		until(&b->touched, 1);
	}
	rt_store_u32(&b->stop, 1, RT_RELEASE);
	rt_thread_join(t);
	return b->write ? b->n : token_word(400, 0);
}

static void busy_end(struct busy *b)
{
	view_close(&b->a, b->v, 3);
	anon_close(&b->a);
}

static void after_a_take_no_thread_uses_the_old_translation(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1);
		takes(&b.a, b.v, 0, 3);
		uint64_t at_once = FRAME_WORD(&b.a, 0, 0);
		uint64_t last = busy_changed(&b, &t);
		/* Each store that went well is in the frame, and was when take returned. */
		CHECK_IS(at_once, last);
		CHECK_IS(FRAME_WORD(&b.a, 0, 0), last);
		holds(&b.a, 1, 2, 401);
		busy_end(&b);
	}
}

static void no_store_is_lost_by_a_move(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1);
		uint64_t to = anon_view(&b.a, 3, RW);
		moves(&b.a, to, b.v, 3);
		uint64_t last = busy_changed(&b, &t);
		LOADS(to, 0, last);
		shows(to + PAGES(1), 2, 401);
		view_close(&b.a, to, 3);
		busy_end(&b);
	}
}

static void after_a_zap_no_thread_uses_the_old_page(void)
{
	struct busy b;
	struct rt_thread t;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, i & 1);
		rt_mmu_zap(&b.a.w.mmu, b.v, 1);
		busy_changed(&b, &t);
		busy_end(&b);
	}
}

/* Out and in again, while a thread stores: it goes on where it was. */
static void what_is_put_goes_on_where_it_was(void)
{
	struct busy b;
	struct rt_thread t;
	uint64_t stored;

	for (unsigned i = 0; i < driver_rounds(8); i++) {
		busy_begin(&b, &t, true);
		for (unsigned k = 0; k < 2; k++) {
			takes(&b.a, b.v, 0, 3);
			puts_back(&b.a, b.v, 0, 3);
		}
		rt_mmu_wrprotect(&b.a.w.mmu, b.v, 3);
		stored = busy_changed(&b, &t);
		LOADS(b.v, 0, stored);
		shows(b.v + PAGES(1), 2, 401);
		busy_end(&b);
	}
}

TESTS(anon, TEST(there_is_nothing_under_its_pages), TEST(the_index_is_of_no_account),
      TEST(fill_maps_the_content), TEST(filled_write_protected_the_first_write_faults),
      TEST(no_protection_stays_where_no_page_is), TEST(fill_stops_at_what_is_mapped),
      TEST(fill_reads_a_frame_of_the_pool), TEST(what_is_taken_waits_in_its_frames),
      TEST(each_page_goes_to_the_frame_it_is_told), TEST(frames_in_a_row_lie_in_a_row),
      TEST(holes_are_passed_over), TEST(what_can_only_be_read_is_taken), TEST(a_run_crosses_tables),
      TEST(a_run_is_long_and_full_of_holes), TEST(what_is_put_is_a_page_again),
      TEST(put_stops_at_what_is_mapped), TEST(what_is_moved_is_there_and_not_here),
      TEST(move_stops_at_what_is_mapped), TEST(a_range_lies_in_one_view),
      TEST(zap_loses_what_is_mapped), TEST(new_rights_leave_pages_mapped),
      TEST(parts_keep_their_pages), TEST(a_view_is_closed_with_its_pages),
      TEST(dropped_frames_are_not_there), TEST(pools_are_apart), TEST(frames_are_written_to_a_file),
      TEST(after_a_take_no_thread_uses_the_old_translation), TEST(no_store_is_lost_by_a_move),
      TEST(after_a_zap_no_thread_uses_the_old_page), TEST(what_is_put_goes_on_where_it_was));
