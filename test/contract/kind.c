/* SPDX-License-Identifier: MIT */
/*
 * kind.c - is the simulated machine too kind? Every outcome that rt.h allows must come,
 * in some run: a core that was tried on a machine which never stops half way, never
 * wakes for nothing and never completes out of order has not been tried.
 *
 * Each test names its outcomes by number, saw() them as they come, and expect()s the
 * whole set. What may not be is CHECKed in each run.
 */
#include <string.h>

#include "driver_sim.h"

#define RW     (RT_READ | RT_WRITE)
#define ALL(n) ((1u << (n)) - 1)

static unsigned vpage(uint64_t addr)
{
	return (unsigned)((addr - SIM_VBASE) / RT_PAGE);
}

/* --- what fails at once ------------------------------------------------------------- */

static void nothing(void *arg)
{
	(void)arg;
}

static void memory_and_threads_are_refused(void)
{
	struct rt_thread t;

	expect(ALL(4));
	may_fail(true);
	void *p = rt_pages_alloc(RT_PAGE);
	int err = rt_thread_start(&t, nothing, NULL, "quire-test");
	may_fail(false);
	saw(p ? 0 : 1);
	saw(err ? 2 : 3);
	CHECK(err == 0 || err == -EAGAIN);
	if (!err)
		rt_thread_join(&t);
	rt_pages_free(p, RT_PAGE);
}

static void freed_pages_come_back_at_once_or_late(void)
{
	expect(ALL(2));
	void *p = rt_pages_alloc(RT_PAGE);
	rt_pages_free(p, RT_PAGE);
	void *again = rt_pages_alloc(RT_PAGE);
	saw(p == again);
	CHECK((p == again) == KNOB(reuse_last));
	rt_pages_free(again, RT_PAGE);
}

static void objects_are_refused(void)
{
	struct rt_object o;

	expect(ALL(4));
	may_fail(true);
	int err = rt_object_open(&o, 2);
	may_fail(false);
	saw(err ? 0 : 1);
	if (err)
		return;
	may_fail(true);
	err = rt_object_grow(&o, 4);
	may_fail(false);
	saw(err ? 2 : 3);
	rt_object_close(&o);
}

static void a_fill_stops_after_any_page(void)
{
	struct world w;

	/* 0 .. 2: failed, with that many pages there; 3: filled. */
	expect(ALL(4));
	world_open(&w, 4);
	char *many = rt_pages_alloc(PAGES(3));
	for (unsigned i = 0; i < 3; i++)
		token_put(many + PAGES(i), 10 + i);
	may_fail(true);
	int err = rt_object_fill(&w.object, 0, many, 3);
	may_fail(false);
	unsigned there = 0;
	while (there < 3 && world_word(&w, there, 0))
		there++;
	CHECK(err ? there < 3 : there == 3);
	for (unsigned i = there; i < 3; i++)
		CHECK_IS(world_word(&w, i, 0), 0);
	saw(there);
	rt_pages_free(many, PAGES(3));
	world_close(&w);
}

static void a_fetch_fails_and_spoils_the_buffer(void)
{
	struct world w;

	expect(ALL(2));
	world_open(&w, 1);
	world_fill(&w, 0, 1, 25);
	may_fail(true);
	int err = rt_object_fetch(&w.object, 0, w.buf, 1); /* which has that very page */
	may_fail(false);
	saw(err ? 0 : 1);
	CHECK_IS(page_word(w.buf, 1) == token_word(25, 1), !err);
	world_close(&w);
}

static void no_frame_is_left(void)
{
	struct world w;
	unsigned n = 0, frames = S->frames_free;

	expect(ALL(2));
	world_open(&w, SIM_OBJECT_PAGES);
	struct rt_object other;
	CHECK_IS(rt_object_open(&other, SIM_OBJECT_PAGES), 0);
	while (n < SIM_OBJECT_PAGES && rt_object_fill(&w.object, n, w.buf, 1) == 0)
		n++;
	for (n = 0; n < SIM_OBJECT_PAGES; n++)
		if (rt_object_fill(&other, n, w.buf, 1) != 0)
			break;
	saw(n < SIM_OBJECT_PAGES ? 0 : 31);
	CHECK_IS(n, frames - SIM_OBJECT_PAGES);
	uint64_t at = 0;
	CHECK_IS(rt_view_open(&w.mmu, &other, 0, PAGES(SIM_OBJECT_PAGES), RW, 0, &at), 0);
	saw(rt_mmu_copy(&w.mmu, at + PAGES(n), w.buf, false) == -ENOMEM ? 1 : 31);
	rt_view_close(&w.mmu, at, PAGES(SIM_OBJECT_PAGES));
	rt_object_close(&other);
	world_close(&w);
}

static void views_are_refused(void)
{
	struct world w;
	uint64_t at = 0;

	expect(ALL(12));
	world_open(&w, 2);
	uint64_t room = world_room(&w, 2);
	may_fail(true);
	int err = rt_view_reserve(&w.mmu, room, PAGES(2));
	may_fail(false);
	saw(err ? 0 : 1);
	if (err)
		REFUSES(room, false);
	rt_view_close(&w.mmu, room, PAGES(2));
	may_fail(true);
	err = rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RW, RT_VIEW_PRIVATE, &at);
	may_fail(false);
	saw(err ? 2 : 3);
	if (err)
		at = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	may_fail(true);
	err = rt_view_protect(&w.mmu, at, PAGES(2), RT_READ);
	may_fail(false);
	saw(err ? 4 : 5);
	if (err)
		FAULTS(at, true); /* the old rights */
	else
		REFUSES(at, true);
	CHECK_IS(rt_view_protect(&w.mmu, at, PAGES(2), RW), 0);
	may_fail(true);
	err = rt_view_part(&w.mmu, at, RT_PAGE);
	may_fail(false);
	saw(err ? 10 : 11);
	may_fail(true);
	err = rt_mmu_own(&w.mmu, at, w.buf);
	may_fail(false);
	saw(err ? 6 : 7);
	CHECK(err == 0 || err == -EAGAIN);
	while (rt_mmu_own(&w.mmu, at, w.buf) != 0)
		;
	uint64_t to = world_room(&w, 2);
	may_fail(true);
	err = rt_view_move(&w.mmu, at, PAGES(2), to, RW);
	may_fail(false);
	saw(err ? 8 : 9);
	if (err)
		LOADS(at, 0, 0); /* as it was */
	else
		LOADS(to, 0, 0);
	rt_view_close(&w.mmu, err ? at : to, PAGES(2));
	world_close(&w);
}

static void a_fixed_view_fails_with_or_without_what_was_there(void)
{
	struct world w;

	/* 0: failed, as before; 1: failed, nothing there; 2: there */
	expect(ALL(3));
	world_open(&w, 2);
	uint64_t v = world_view(&w, 0, 2, RW, 0), at = v;
	may_fail(true);
	int err = rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RT_READ, RT_VIEW_FIXED, &at);
	may_fail(false);
	CHECK(at == v);
	switch (driver_touch(v, 0, true, &(uint64_t){ 0 })) {
	case TOUCH_FAULT:
		CHECK(err);
		saw(0);
		break;
	case TOUCH_SEGV:
		saw(err ? 1 : 2);
		break;
	default:
		CHECK(false);
	}
	if (err)
		CHECK_IS(rt_view_open(&w.mmu, &w.object, 0, PAGES(2), RT_READ, RT_VIEW_FIXED, &at),
			 0);
	FAULTS(v, false);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

static void a_move_fails_with_or_without_a_view_at_its_end(void)
{
	struct world w;

	/* 0: failed, a view there; 1: failed, none; 2: moved */
	expect(ALL(3));
	world_open(&w, 2);
	uint64_t from = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	uint64_t to = world_view(&w, 0, 2, RW, RT_VIEW_PRIVATE);
	token_put(w.buf, 18);
	CHECK_IS(rt_mmu_own(&w.mmu, from, w.buf), 0);
	may_fail(true);
	int err = rt_view_move(&w.mmu, from, PAGES(2), to, RW);
	may_fail(false);
	LOADS(err ? from : to, 0, token_word(18, 0));
	FAULTS((err ? from : to) + RT_PAGE, true);
	switch (driver_touch(err ? to : from, 0, true, &(uint64_t){ 0 })) {
	case TOUCH_FAULT:
		CHECK(err);
		saw(0);
		break;
	case TOUCH_SEGV:
		saw(err ? 1 : 2);
		break;
	default:
		CHECK(false);
	}
	rt_view_close(&w.mmu, from, PAGES(2));
	rt_view_close(&w.mmu, to, PAGES(2));
	world_close(&w);
}

static void owning_fails_with_the_old_page_gone(void)
{
	struct world w;

	expect(ALL(2));
	world_open(&w, 1);
	world_fill(&w, 0, 1, 20);
	uint64_t v = world_view(&w, 0, 1, RW, RT_VIEW_PRIVATE);
	CHECK_IS(rt_mmu_map(&w.mmu, v, 1, true), 1);
	may_fail(true);
	int err = rt_mmu_own(&w.mmu, v, w.buf);
	may_fail(false);
	saw(err ? 0 : 1);
	if (err)
		FAULTS(v, false);
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

/* --- what is to be tried again ---------------------------------------------------------- */

static void a_map_stops_after_any_page(void)
{
	struct world w;

	/* 0: -EAGAIN; 1 .. 4: pages mapped */
	expect(ALL(5));
	world_open(&w, 4);
	world_fill(&w, 0, 4, 30);
	uint64_t v = world_view(&w, 0, 4, RW, 0);
	may_fail(true);
	int64_t n = rt_mmu_map(&w.mmu, v, 4, false);
	may_fail(false);
	CHECK(n == -EAGAIN || (n > 0 && n <= 4));
	saw(n < 0 ? 0 : (unsigned)n);
	for (int64_t i = 0; i < 4; i++) {
		if (i < n)
			LOADS(v + PAGES(i), 0, token_word(30 + (uint64_t)i, 0));
		else
			FAULTS(v + PAGES(i), false);
	}
	rt_view_close(&w.mmu, v, PAGES(4));
	world_close(&w);
}

static void copy_and_unprotect_say_try_again(void)
{
	struct world w;

	expect(ALL(4));
	world_open(&w, 1);
	uint64_t v = world_view(&w, 0, 1, RW, 0);
	token_put(w.buf, 40);
	may_fail(true);
	int err = rt_mmu_copy(&w.mmu, v, w.buf, true);
	may_fail(false);
	saw(err ? 0 : 1);
	if (err) {
		CHECK_IS(err, -EAGAIN);
		FAULTS(v, false);
		CHECK_IS(world_word(&w, 0, 0), 0); /* nothing was done */
		token_put(w.buf, 40);
		CHECK_IS(rt_mmu_copy(&w.mmu, v, w.buf, true), 0);
	}
	may_fail(true);
	err = rt_mmu_unprotect(&w.mmu, v, 1);
	may_fail(false);
	saw(err ? 2 : 3);
	if (err)
		FAULTS(v, true);
	else
		STORES(v, 0, 1);
	rt_view_close(&w.mmu, v, RT_PAGE);
	world_close(&w);
}

/* --- sleep ------------------------------------------------------------------------------ */

struct sleeper {
	rt_u32 word, up, first;
	int id[2];
	uint64_t timeout;
};

static void change_and_wake(void *arg)
{
	struct sleeper *s = arg;

	rt_store_u32(&s->word, 1, RT_RELEASE);
	rt_wake(&s->word, 1);
}

static void sleep_once(uint64_t timeout)
{
	struct sleeper s = { .timeout = timeout };
	struct rt_thread t;

	/* 0: nobody woke it; 1: the word had changed */
	expect(ALL(2));
	thread_begin(&t, change_and_wake, &s);
	may_fail(true);
	CHECK_IS(rt_wait(&s.word, 0, timeout), 0);
	may_fail(false);
	saw(rt_load_u32(&s.word, RT_ACQUIRE) ? 1 : 0);
	rt_thread_join(&t);
}

static void a_wait_ends_for_nothing(void)
{
	sleep_once(0);
}

static void a_wait_times_out_before_others_go_on(void)
{
	sleep_once(1000);
}

static void a_wait_times_out_in_the_end(void)
{
	rt_u32 word = { 0 };
	uint64_t begin = rt_now_ns();

	expect(1);
	CHECK_IS(rt_wait(&word, 0, 5000000), 0);
	saw(rt_now_ns() - begin >= 5000000 ? 0 : 31);
}

static void wait_as_one_of_two(void *arg)
{
	struct sleeper *s = arg;
	uint32_t me = rt_add_u32(&s->up, 1, RT_RELAXED);

	s->id[me] = sim_self();
	CHECK_IS(rt_wait(&s->word, 0, 0), 0);
	rt_cas_u32(&s->first, 0, me + 1, RT_RELEASE);
}

static void one_of_two_is_woken(void)
{
	struct sleeper s = { .id = { -1, -1 } };
	struct rt_thread t[2];

	expect(ALL(1));
	thread_begin(&t[0], wait_as_one_of_two, &s);
	thread_begin(&t[1], wait_as_one_of_two, &s);
	until(&s.up, 2);
	while (s.id[0] < 0 || s.id[1] < 0 || S->t[s.id[0]].state != SIM_ASLEEP ||
	       S->t[s.id[1]].state != SIM_ASLEEP)
		rt_relax();
	rt_wake(&s.word, 1);
	while (rt_load_u32(&s.first, RT_ACQUIRE) == 0)
		rt_relax();
	CHECK_IS(S->t[s.id[2 - rt_load_u32(&s.first, RT_RELAXED)]].state, SIM_ASLEEP);
	saw(0);
	rt_wake(&s.word, 1);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
}

struct victim {
	rt_u32 word;
	int id;
};

static void kill_it(void *arg)
{
	sim_kill(((struct victim *)arg)->id);
}

static void a_killed_waiter_is_told(void)
{
	struct victim v = { .id = sim_self() };
	struct rt_thread t;

	/* 0: before it slept; 1: asleep */
	expect(ALL(2));
	thread_begin(&t, kill_it, &v);
	saw(rt_killed() ? 0 : 1);
	CHECK_IS(rt_wait(&v.word, 0, 0), -EINTR);
	CHECK(rt_killed());
	rt_thread_join(&t);
}

/* --- who comes first -------------------------------------------------------------------- */

struct race {
	struct rt_lock l;
	rt_u32 first, held, began, done;
	uint64_t last; /* under l */
};

static void take(struct race *r, uint32_t me)
{
	rt_lock(&r->l);
	rt_cas_u32(&r->first, 0, me, RT_RELAXED);
	rt_unlock(&r->l);
}

static void take_as_1(void *arg)
{
	take(arg, 1);
}

static void take_as_2(void *arg)
{
	take(arg, 2);
}

static void either_waiter_gets_the_lock(void)
{
	struct race r = { .first = { 0 } };
	struct rt_thread t[2];

	expect(ALL(2));
	rt_lock_init(&r.l);
	rt_lock(&r.l);
	thread_begin(&t[0], take_as_1, &r);
	thread_begin(&t[1], take_as_2, &r);
	rt_unlock(&r.l);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
	saw(rt_load_u32(&r.first, RT_RELAXED) - 1);
}

static void hold_for_a_while(void *arg)
{
	struct race *r = arg;

	rt_lock(&r->l);
	rt_store_u32(&r->held, 1, RT_RELAXED);
	rt_store_u32(&r->held, 0, RT_RELAXED);
	rt_unlock(&r->l);
}

static void trylock_meets_a_holder(void)
{
	struct race r = { .first = { 0 } };
	struct rt_thread t;

	expect(ALL(2));
	rt_lock_init(&r.l);
	thread_begin(&t, hold_for_a_while, &r);
	bool got = rt_trylock(&r.l);
	saw(got);
	if (got)
		rt_unlock(&r.l);
	rt_thread_join(&t);
}

static void read_and_go_on(void *arg)
{
	struct race *r = arg;

	rt_rcu_read_lock();
	rt_store_u32(&r->began, 1, RT_RELEASE);
	rt_rcu_read_unlock();
	rt_store_u32(&r->held, 1, RT_RELAXED);
	rt_store_u32(&r->done, 1, RT_RELAXED);
}

static void a_grace_period_ends_early_or_late(void)
{
	struct race r = { .first = { 0 } };
	struct rt_thread t;

	/* the reader, long out of its section, has ended or not */
	expect(ALL(2));
	thread_begin(&t, read_and_go_on, &r);
	until(&r.began, 1);
	rt_rcu_synchronize();
	bool done = rt_load_u32(&r.done, RT_RELAXED);
	saw(done);
	CHECK(done || !KNOB(rcu_late));
	rt_thread_join(&t);
}

/* --- translations -------------------------------------------------------------------------- */

struct stale {
	struct world w;
	uint64_t v;
	rt_u32 ready, stop;
	bool write;
};

/* 0: faulted; 1: went well, as mapped; 2: went well by a translation that is not there
 * any more. */
static void touch_as_it_goes(void *arg)
{
	struct stale *s = arg;

	STORES(s->v, 0, 1);
	rt_store_u32(&s->ready, 1, RT_RELEASE);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t value = 2;
		enum touch how = driver_touch(s->v, 0, s->write, &value);
		unsigned flags = S->pte[vpage(s->v)].flags;
		bool good = flags & SIM_PTE_PRESENT && !(s->write && flags & SIM_PTE_WP);
		CHECK(how != TOUCH_SEGV);
		CHECK(how == TOUCH_OK || !good);
		CHECK(how == TOUCH_FAULT || good || KNOB(tlb));
		saw(how == TOUCH_FAULT ? 0 : good ? 1 : 2);
	}
	rt_store_u32(&s->stop, 1, RT_RELEASE);
}

static void stale_begin(struct stale *s, struct rt_thread *t, bool write)
{
	expect(ALL(3));
	*s = (struct stale){ .write = write };
	world_open(&s->w, 1);
	world_fill(&s->w, 0, 1, 50);
	s->v = world_view(&s->w, 0, 1, RW, 0);
	CHECK_IS(rt_mmu_map(&s->w.mmu, s->v, 1, false), 1);
	thread_begin(t, touch_as_it_goes, s);
	until(&s->ready, 1);
}

static void stale_end(struct stale *s, struct rt_thread *t)
{
	rt_thread_join(t);
	rt_view_close(&s->w.mmu, s->v, RT_PAGE);
	world_close(&s->w);
}

static void a_load_meets_a_zap_half_way(void)
{
	struct stale s;
	struct rt_thread t;

	stale_begin(&s, &t, false);
	rt_mmu_zap(&s.w.mmu, s.v, 1);
	stale_end(&s, &t);
}

static void a_store_meets_a_wrprotect_half_way(void)
{
	struct stale s;
	struct rt_thread t;

	stale_begin(&s, &t, true);
	CHECK_IS(rt_mmu_wrprotect(&s.w.mmu, s.v, 1), 0);
	stale_end(&s, &t);
}

/* A page whose second half is not yet filled, seen by who maps it too early. */
static void fill_it(void *arg)
{
	struct stale *s = arg;
	char *page = rt_pages_alloc(RT_PAGE);

	token_put(page, 60);
	CHECK_IS(rt_object_fill(&s->w.object, 0, page, 1), 0);
	rt_pages_free(page, RT_PAGE);
}

static void a_page_is_seen_half_filled(void)
{
	struct stale s = { .write = false };
	struct rt_thread t;

	/* 0: not there; 1: half; 2: whole */
	expect(ALL(3));
	world_open(&s.w, 1);
	thread_begin(&t, fill_it, &s);
	uint64_t first = world_word(&s.w, 0, 0), second = page_word(s.w.buf, 1);
	CHECK(first || !second || second == token_word(60, 1));
	saw(!first ? 0 : second == token_word(60, 1) ? 2 : 1);
	rt_thread_join(&t);
	world_close(&s.w);
}

/* --- anonymous memory ---------------------------------------------------------------- */

struct swapped {
	struct rt_io io;
	struct world w;
	struct rt_pool pool;
	uint64_t v; /* four pages, which can be read and written */
	char *buf;  /* four */
	struct rt_file f;
	rt_u32 done;
	int id;
};

static void swapped_begin(struct swapped *s)
{
	memset(s, 0, sizeof(*s));
	world_open(&s->w, 1);
	CHECK_IS(rt_pool_open(&s->w.mmu, &s->pool, 4), 0);
	CHECK_IS(rt_view_open(&s->w.mmu, NULL, 0, PAGES(4), RW, RT_VIEW_PRIVATE, &s->v), 0);
	s->buf = rt_pages_alloc(PAGES(4));
	for (unsigned i = 0; i < 4; i++)
		token_put(s->buf + PAGES(i), 200 + i);
}

static void swapped_end(struct swapped *s)
{
	rt_pages_free(s->buf, PAGES(4));
	rt_view_close(&s->w.mmu, s->v, PAGES(4));
	rt_pool_close(&s->w.mmu, &s->pool);
	world_close(&s->w);
}

static void fill_pages(struct swapped *s, unsigned from, unsigned n)
{
	CHECK_IS(rt_mmu_fill(&s->w.mmu, s->v + PAGES(from), s->buf + PAGES(from), n, false), n);
}

static void take_pages(struct swapped *s, unsigned from, unsigned n)
{
	CHECK_IS(take_row(&s->w.mmu, &s->pool, s->v + PAGES(from), from, n, NULL), n);
}

/* 0: -EAGAIN; 1: -ENOMEM; 2: -EBUSY; 3 .. 6: one page .. four. */
static void saw_pages(int64_t n)
{
	CHECK(n == -EAGAIN || n == -ENOMEM || n == -EBUSY || (n > 0 && n <= 4));
	saw(n == -EAGAIN ? 0 : n == -ENOMEM ? 1 : n == -EBUSY ? 2 : (unsigned)n + 2);
}

/* Page i is token 200 + i in the view, from which on it is at addr; or nowhere. */
static void is_mapped_from(uint64_t addr, int64_t first, int64_t end)
{
	for (int64_t i = 0; i < 4; i++) {
		if (i >= first && i < end)
			LOADS(addr + PAGES(i), 1, token_word(200 + (uint64_t)i, 1));
		else
			FAULTS(addr + PAGES(i), false);
	}
}

static bool frame_is_there(const struct swapped *s, int64_t i)
{
	return S->pool_frame[S->pool[s->pool.id].first + i] != 0;
}

static void a_fill_of_a_view_stops_after_any_page(void)
{
	struct swapped s;

	expect(ALL(7) & ~(1u << 2));
	swapped_begin(&s);
	may_fail(true);
	int64_t n = rt_mmu_fill(&s.w.mmu, s.v, s.buf, 4, false);
	may_fail(false);
	saw_pages(n);
	is_mapped_from(s.v, 0, n);
	swapped_end(&s);
}

/* 7, 8: the pages from `left` on are writable, or all are not. */
static void saw_protection(uint64_t addr, int64_t left)
{
	unsigned stored = 0;

	for (int64_t i = left; i < 4; i++)
		stored += driver_touch(addr + PAGES(i), 0, true, &(uint64_t){ 1 }) == TOUCH_OK;
	CHECK(stored == 0 || stored == 4 - left);
	if (left < 4)
		saw(stored ? 7 : 8);
}

static void a_take_stops_after_any_page(void)
{
	struct swapped s;

	expect(ALL(9));
	swapped_begin(&s);
	fill_pages(&s, 0, 4);
	may_fail(true);
	int64_t n = take_row(&s.w.mmu, &s.pool, s.v, 0, 4, NULL);
	may_fail(false);
	saw_pages(n);
	is_mapped_from(s.v, n < 0 ? 0 : n, 4);
	saw_protection(s.v, n < 0 ? 0 : n);
	for (int64_t i = 0; i < 4; i++) {
		CHECK_IS(frame_is_there(&s, i), i < n);
		if (i < n)
			CHECK_IS(page_word(rt_pool_at(&s.pool, (uint64_t)i), 1),
				 token_word(200 + (uint64_t)i, 1));
	}
	swapped_end(&s);
}

static void a_take_of_a_hole_meets_nobody(void)
{
	struct swapped s;

	expect(ALL(7) & ~(1u << 2));
	swapped_begin(&s);
	fill_pages(&s, 1, 2);
	may_fail(true);
	int64_t n = take_row(&s.w.mmu, &s.pool, s.v, 0, 4, &(uint64_t){ 6 });
	may_fail(false);
	saw_pages(n);
	is_mapped_from(s.v, n < 1 ? 1 : n, 3);
	for (int64_t i = 0; i < 4; i++)
		CHECK_IS(frame_is_there(&s, i), i < n && i > 0 && i < 3);
	swapped_end(&s);
}

static void a_put_stops_after_any_page(void)
{
	struct swapped s;

	expect(ALL(7));
	swapped_begin(&s);
	fill_pages(&s, 0, 4);
	take_pages(&s, 0, 4);
	may_fail(true);
	int64_t n = rt_mmu_put(&s.w.mmu, &s.pool, s.v, 0, 4);
	may_fail(false);
	saw_pages(n);
	is_mapped_from(s.v, 0, n);
	for (int64_t i = 0; i < 4; i++)
		CHECK_IS(frame_is_there(&s, i), i >= n);
	swapped_end(&s);
}

static void a_move_stops_after_any_page(void)
{
	struct swapped s;
	uint64_t to = 0;

	expect(ALL(9));
	swapped_begin(&s);
	CHECK_IS(rt_view_open(&s.w.mmu, NULL, 0, PAGES(4), RW, RT_VIEW_PRIVATE, &to), 0);
	fill_pages(&s, 0, 4);
	may_fail(true);
	int64_t n = rt_mmu_move(&s.w.mmu, to, s.v, 4);
	may_fail(false);
	saw_pages(n);
	is_mapped_from(s.v, n < 0 ? 0 : n, 4);
	is_mapped_from(to, 0, n);
	saw_protection(s.v, n < 0 ? 0 : n);
	rt_view_close(&s.w.mmu, to, PAGES(4));
	swapped_end(&s);
}

static void pools_are_refused(void)
{
	struct swapped s;
	struct rt_pool p;

	expect(ALL(4));
	swapped_begin(&s);
	may_fail(true);
	int err = rt_pool_open(&s.w.mmu, &p, 2);
	may_fail(false);
	CHECK(err == 0 || err == -ENOMEM);
	saw(err ? 0 : 1);
	if (!err) {
		saw(rt_pool_open(&s.w.mmu, &(struct rt_pool){ 0 }, 1) == -ENOMEM ? 2 : 31);
		rt_pool_close(&s.w.mmu, &p);
	}
	saw(rt_pool_open(&s.w.mmu, &p, SIM_POOL_FRAMES) == -ENOMEM ? 3 : 31);
	swapped_end(&s);
}

static void no_frame_is_left_for_a_view(void)
{
	struct swapped s;
	unsigned frames = S->frames_free;
	uint64_t at = 0;

	expect(ALL(2));
	swapped_begin(&s);
	fill_pages(&s, 0, 3);
	take_pages(&s, 0, 1);
	CHECK_IS(S->frames_free, frames - 3); /* in the pool it costs as much */
	char *many = rt_pages_alloc(PAGES(SIM_FRAMES));
	CHECK_IS(rt_view_open(&s.w.mmu, NULL, 0, PAGES(SIM_FRAMES), RW, RT_VIEW_PRIVATE, &at), 0);
	CHECK_IS(rt_mmu_fill(&s.w.mmu, at, many, SIM_FRAMES, false), frames - 3);
	saw(0);
	saw(rt_mmu_fill(&s.w.mmu, s.v + PAGES(3), many, 1, false) == -ENOMEM ? 1 : 31);
	/* None is needed for these. */
	CHECK_IS(rt_mmu_move(&s.w.mmu, s.v + PAGES(3), s.v + PAGES(1), 1), 1);
	take_pages(&s, 2, 1);
	CHECK_IS(rt_mmu_put(&s.w.mmu, &s.pool, s.v, 0, 1), 1);
	CHECK_IS(S->frames_free, 0);
	rt_pool_drop(&s.w.mmu, &s.pool, 0, 4);
	CHECK_IS(S->frames_free, 1);
	rt_mmu_zap(&s.w.mmu, s.v, 2);
	CHECK_IS(S->frames_free, 2);
	fill_pages(&s, 1, 1);
	take_pages(&s, 1, 1);
	rt_view_close(&s.w.mmu, at, PAGES(SIM_FRAMES));
	rt_pages_free(many, PAGES(SIM_FRAMES));
	swapped_end(&s); /* with a page in the view, and one in the pool */
	CHECK_IS(S->frames_free, frames);
}

/* As stale_begin(), without an object. */
static void stale_swapped(struct swapped *s, struct stale *st, struct rt_thread *t, bool write)
{
	expect(ALL(3));
	swapped_begin(s);
	fill_pages(s, 0, 2);
	*st = (struct stale){ .write = write, .v = s->v };
	thread_begin(t, touch_as_it_goes, st);
	until(&st->ready, 1);
}

static void a_store_meets_a_take_half_way(void)
{
	struct swapped s;
	struct stale st;
	struct rt_thread t;

	stale_swapped(&s, &st, &t, true);
	take_pages(&s, 0, 2);
	rt_thread_join(&t);
	swapped_end(&s);
}

static void a_load_meets_a_move_half_way(void)
{
	struct swapped s;
	struct stale st;
	struct rt_thread t;

	stale_swapped(&s, &st, &t, false);
	CHECK_IS(rt_mmu_move(&s.w.mmu, s.v + PAGES(2), s.v, 2), 2);
	rt_thread_join(&t);
	LOADS(s.v + PAGES(2), 1, token_word(200, 1));
	swapped_end(&s);
}

static void write_frame(void *arg)
{
	struct swapped *s = arg;

	s->id = sim_self();
	CHECK(rt_file_write(&s->f, rt_pool_at(&s->pool, 2), RT_PAGE, 0) > 0);
	rt_store_u32(&s->done, 1, RT_RELEASE);
}

/* A write from frame 2 is under way, and goes no further; false: it is over already. */
static bool transfer_begins(struct swapped *s, bool queued)
{
	struct rt_thread t;
	struct rt_ioq q;

	S->quiet = queued;
	if (queued) {
		CHECK_IS(rt_ioq_open(&q), 0);
		s->io = (struct rt_io){
			.file = &s->f, .buf = rt_pool_at(&s->pool, 2), .len = RT_PAGE, .write = true
		};
		rt_ioq_submit(&q, &s->io, false);
		return true;
	}
	s->id = -1;
	thread_begin(&t, write_frame, s);
	while ((s->id < 0 || !S->t[s->id].from) && !rt_load_u32(&s->done, RT_RELAXED))
		rt_relax();
	S->quiet = true;
	return S->t[s->id].from;
}

/* Page 0 is mapped, page 2 of the view is in frame 2; readonly has a page. */
enum wrong {
	TAKE_TWICE,
	TAKE_TWO_INTO_ONE,
	PUT_NOTHING,
	MOVE_NOTHING,
	MOVE_ONTO_ITSELF,
	FILL_OF_OBJECT,
	PUT_READ_ONLY,
	MOVE_READ_ONLY,
	TAKE_UNREADABLE,
	TAKE_TOLD_TOO_FEW,
	TAKE_TOLD_TOO_MANY,
	MAP_OF_NONE,
	COPY_OF_NONE,
	OWN_OF_NONE,
	VIEW_MOVE_OF_NONE,
	SHARED_OF_NONE,
	PAST_THE_POOL,
	FILL_FROM_NOTHING,
	WRITE_FROM_NOTHING,
	READ_INTO_POOL,
	STORE_TO_POOL,
	DROP_QUEUED,
	PUT_QUEUED,
	DROP_WRITTEN,
	PUT_WRITTEN,
	POOL_CLOSED,
	WRONGS,
};

static const char *const caught_at[WRONGS] = {
	[TAKE_TWICE] = "into a frame that is there",
	[TAKE_TWO_INTO_ONE] = "two pages are taken into one frame",
	[PUT_NOTHING] = "is put that is not there",
	[MOVE_NOTHING] = "is moved that is not mapped",
	[MOVE_ONTO_ITSELF] = "moved onto each other",
	[FILL_OF_OBJECT] = "fill in a view of an object",
	[PUT_READ_ONLY] = "put in a view that cannot be written",
	[MOVE_READ_ONLY] = "move in a view that cannot be written",
	[TAKE_UNREADABLE] = "take in a view that cannot be read",
	[TAKE_TOLD_TOO_FEW] = "told wrongly",
	[TAKE_TOLD_TOO_MANY] = "told wrongly",
	[MAP_OF_NONE] = "map in a view without",
	[COPY_OF_NONE] = "copy in a view without",
	[OWN_OF_NONE] = "own in a view without",
	[VIEW_MOVE_OF_NONE] = "move in a view without",
	[SHARED_OF_NONE] = "opened without an object",
	[PAST_THE_POOL] = "more than its pool has",
	[FILL_FROM_NOTHING] = "read that is not there",
	[WRITE_FROM_NOTHING] = "read that is not there",
	[READ_INTO_POOL] = "read into the frames",
	[STORE_TO_POOL] = "was written to",
	[DROP_QUEUED] = "drop of a frame while a transfer",
	[PUT_QUEUED] = "put of a frame while a transfer",
	[DROP_WRITTEN] = "drop of a frame while a transfer",
	[PUT_WRITTEN] = "put of a frame while a transfer",
	[POOL_CLOSED] = "used after it was closed",
};

static void do_wrong(struct swapped *s, enum wrong what, uint64_t readonly, uint64_t shared)
{
	struct rt_mmu *mmu = &s->w.mmu;
	struct rt_pool *pool = &s->pool;
	uint64_t v = s->v, to = world_room(&s->w, 4);
	static const uint32_t one_frame[] = { 0, 0 };

	switch (what) {
	case TAKE_TWICE:
		take_row(mmu, pool, v, 2, 1, NULL);
		break;
	case TAKE_TWO_INTO_ONE:
		fill_pages(s, 1, 1);
		rt_mmu_take(mmu, pool, v, one_frame, 2, NULL);
		break;
	case PUT_NOTHING:
		rt_mmu_put(mmu, pool, v + PAGES(1), 2, 2);
		break;
	case MOVE_NOTHING:
		rt_mmu_move(mmu, v + PAGES(2), v, 2);
		break;
	case MOVE_ONTO_ITSELF:
		rt_mmu_move(mmu, v, v, 1);
		break;
	case FILL_OF_OBJECT:
		rt_mmu_fill(mmu, shared, s->buf, 1, false);
		break;
	case PUT_READ_ONLY:
		rt_mmu_put(mmu, pool, readonly + RT_PAGE, 2, 1);
		break;
	case MOVE_READ_ONLY:
		rt_mmu_move(mmu, v + PAGES(1), readonly, 1);
		break;
	case TAKE_UNREADABLE:
		CHECK_IS(rt_view_protect(mmu, v, PAGES(4), 0), 0);
		take_row(mmu, pool, v, 0, 1, NULL);
		break;
	case TAKE_TOLD_TOO_FEW:
		take_row(mmu, pool, v, 0, 2, &(uint64_t){ 0 });
		break;
	case TAKE_TOLD_TOO_MANY:
		take_row(mmu, pool, v, 0, 2, NULL);
		break;
	case MAP_OF_NONE:
		rt_mmu_map(mmu, v, 1, true);
		break;
	case COPY_OF_NONE:
		rt_mmu_copy(mmu, v + PAGES(1), s->buf, false);
		break;
	case OWN_OF_NONE:
		rt_mmu_own(mmu, v, s->buf);
		break;
	case VIEW_MOVE_OF_NONE:
		rt_view_move(mmu, v, PAGES(4), to, RW);
		break;
	case SHARED_OF_NONE:
		rt_view_open(mmu, NULL, 0, RT_PAGE, RW, 0, &to);
		break;
	case PAST_THE_POOL:
		take_row(mmu, pool, v, 4, 1, NULL);
		break;
	case FILL_FROM_NOTHING:
		rt_mmu_fill(mmu, v + PAGES(1), rt_pool_at(pool, 1), 1, false);
		break;
	case WRITE_FROM_NOTHING:
		rt_file_write(&s->f, rt_pool_at(pool, 2), PAGES(2), 0);
		break;
	case READ_INTO_POOL:
		rt_file_read(&s->f, rt_pool_at(pool, 2), RT_PAGE, 0);
		break;
	case STORE_TO_POOL:
		token_put(rt_pool_at(pool, 2), 1);
		rt_pool_drop(mmu, pool, 2, 1);
		break;
	case DROP_QUEUED:
	case DROP_WRITTEN:
		if (transfer_begins(s, what == DROP_QUEUED))
			rt_pool_drop(mmu, pool, 0, 4);
		else
			breaks(NULL);
		break;
	case PUT_QUEUED:
	case PUT_WRITTEN:
		if (transfer_begins(s, what == PUT_QUEUED))
			rt_mmu_put(mmu, pool, v + PAGES(2), 2, 1);
		else
			breaks(NULL);
		break;
	case POOL_CLOSED:
		rt_pool_close(mmu, pool);
		rt_pool_at(pool, 2);
		break;
	case WRONGS:
		break;
	}
}

static void what_the_core_may_not_do_is_seen(void)
{
	struct swapped s;
	uint64_t readonly = 0;
	enum wrong what = (enum wrong)E.choose(E.explorer, SIM_VALUE, WRONGS);

	expect(ALL(WRONGS));
	swapped_begin(&s);
	fill_pages(&s, 0, 3);
	rt_mmu_zap(&s.w.mmu, s.v + PAGES(1), 1);
	take_pages(&s, 2, 1);
	CHECK_IS(rt_view_open(&s.w.mmu, NULL, 0, PAGES(2), RT_READ, RT_VIEW_PRIVATE, &readonly), 0);
	CHECK_IS(rt_mmu_fill(&s.w.mmu, readonly, s.buf, 1, false), 1);
	CHECK_IS(rt_file_open(&s.f, driver_file(PAGES(2)), true, true), 0);
	uint64_t shared = world_view(&s.w, 0, 1, RW, 0);
	saw(what);
	breaks(caught_at[what]);
	do_wrong(&s, what, readonly, shared);
}

/* --- files --------------------------------------------------------------------------------- */

static void files_fail(void)
{
	struct rt_file f;
	int handle = driver_file(PAGES(2));

	expect(ALL(8));
	may_fail(true);
	int err = rt_file_open(&f, handle, true, true);
	may_fail(false);
	saw(err ? 0 : 1);
	if (err)
		CHECK_IS(rt_file_open(&f, handle, true, true), 0);
	may_fail(true);
	int64_t size = rt_file_size(&f);
	may_fail(false);
	saw(size < 0 ? 2 : 3);
	may_fail(true);
	err = rt_file_sync(&f);
	may_fail(false);
	saw(err ? 4 : 5);
	char *buf = rt_pages_alloc(RT_PAGE);
	may_fail(true);
	int64_t n = rt_file_read(&f, buf, RT_PAGE, 0);
	may_fail(false);
	saw(n < 0 ? 6 : 7);
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&f);
}

static void a_read_stops_in_the_middle(void)
{
	struct rt_file f;

	expect(ALL(2));
	CHECK_IS(rt_file_open(&f, driver_file(PAGES(2)), false, true), 0);
	char *buf = rt_pages_alloc(RT_PAGE);
	int64_t n = rt_file_read(&f, buf, RT_PAGE, 0);
	CHECK(n > 0);
	saw(n == (int64_t)RT_PAGE);
	CHECK((n == (int64_t)RT_PAGE) == !KNOB(short_reads));
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&f);
}

/* 0: all; 1: in part; 2, 3: failed, with nothing, with something written; 4, 5: as
 * the errno. */
static void saw_write(int64_t n, bool arrived)
{
	CHECK(n == -EIO || n == -ENOSPC || n > 0);
	if (n < 0) {
		saw(arrived ? 3 : 2);
		saw(n == -EIO ? 4 : 5);
	} else {
		CHECK(arrived);
		saw(n == (int64_t)RT_PAGE ? 0 : 1);
	}
}

static void a_write_ends_in_any_way(void)
{
	struct rt_file f;

	expect(ALL(6));
	CHECK_IS(rt_file_open(&f, driver_file(PAGES(2)), true, true), 0);
	char *buf = rt_pages_alloc(RT_PAGE);
	for (unsigned i = 0; i < 3; i++) {
		token_put(buf, 70 + i);
		may_fail(true);
		int64_t n = rt_file_write(&f, buf, RT_PAGE, RT_PAGE);
		may_fail(false);
		saw_write(n, sim_file_word(0, 1, 0) == token_word(70 + i, 0));
	}
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&f);
}

static void a_full_disk_takes_what_fits(void)
{
	struct rt_file f;

	/* 0: short; 1: nothing */
	expect(ALL(2));
	CHECK_IS(rt_file_open(&f, driver_file(PAGES(1)), true, true), 0);
	S->file[0].full = (int)(RT_PAGE + RT_PAGE / 2);
	char *buf = rt_pages_alloc(RT_PAGE);
	int64_t n = rt_file_write(&f, buf, RT_PAGE, RT_PAGE);
	CHECK_IS(n, RT_PAGE / 2);
	saw(0);
	CHECK_IS(rt_file_write(&f, buf, RT_PAGE / 2, RT_PAGE + RT_PAGE / 2), -ENOSPC);
	saw(1);
	CHECK_IS(rt_file_size(&f), RT_PAGE + RT_PAGE / 2);
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&f);
}

/* Token `t` in the first half of the first page. */
static void write_token(struct rt_file *f, char *buf, uint64_t t)
{
	token_put(buf, t);
	while (rt_file_write(f, buf, RT_PAGE / 2, 0) != (int64_t)RT_PAGE / 2)
		;
}

static bool token_is_durable(uint64_t t)
{
	return S->file[0].durable[0][0] == token_word(t, 0);
}

static void what_is_not_synced_is_not_durable(void)
{
	struct rt_file f;

	/* 0: the sync failed, 1: it did not */
	expect(ALL(2));
	CHECK_IS(rt_file_open(&f, driver_file(PAGES(1)), true, true), 0);
	char *buf = rt_pages_alloc(RT_PAGE);
	write_token(&f, buf, 80);
	CHECK(!token_is_durable(80));
	may_fail(true);
	int err = rt_file_sync(&f);
	may_fail(false);
	CHECK_IS(token_is_durable(80), !err);
	saw(err ? 0 : 1);
	/* What a sync has failed for another one does not keep; written again it does. */
	CHECK_IS(rt_file_sync(&f), 0);
	CHECK_IS(token_is_durable(80), !err);
	CHECK_IS(sim_file_word(0, 0, 0), token_word(80, 0));
	write_token(&f, buf, 80);
	CHECK_IS(rt_file_sync(&f), 0);
	CHECK(token_is_durable(80));
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&f);
}

struct syncer {
	struct rt_file f;
	rt_u32 begins;
};

static void sync_it(void *arg)
{
	struct syncer *s = arg;

	rt_store_u32(&s->begins, 1, RT_RELEASE);
	CHECK_IS(rt_file_sync(&s->f), 0);
}

static void a_sync_need_not_keep_what_came_after_it_began(void)
{
	struct syncer s = { .begins = { 0 } };
	struct rt_thread t;

	/* 0: it is not durable, 1: it is */
	expect(ALL(2));
	CHECK_IS(rt_file_open(&s.f, driver_file(PAGES(1)), true, true), 0);
	char *buf = rt_pages_alloc(RT_PAGE);
	thread_begin(&t, sync_it, &s);
	until(&s.begins, 1);
	write_token(&s.f, buf, 85);
	rt_thread_join(&t);
	saw(token_is_durable(85));
	CHECK_IS(rt_file_sync(&s.f), 0);
	CHECK(token_is_durable(85));
	rt_pages_free(buf, RT_PAGE);
	rt_file_close(&s.f);
}

/* --- the queue --------------------------------------------------------------------------- */

struct queued {
	struct rt_ioq q;
	struct rt_file f;
	char *buf;
	rt_u32 done;
	struct rt_io io[3];
	rt_u32 order[3]; /* done as the how-many-eth, from 1 */
};

static struct queued *queue_of; /* of this run */

static void io_done(struct rt_io *io)
{
	struct queued *s = queue_of;

	rt_store_u32(&s->order[io - s->io], rt_add_u32(&s->done, 1, RT_ACQ_REL) + 1, RT_RELEASE);
	rt_wake(&s->done, UINT32_MAX);
}

static void queue_begin(struct queued *s)
{
	memset(s, 0, sizeof(*s));
	queue_of = s;
	CHECK_IS(rt_file_open(&s->f, driver_file(PAGES(4)), true, true), 0);
	CHECK_IS(rt_ioq_open(&s->q), 0);
	s->buf = rt_pages_alloc(PAGES(3));
}

static void submit(struct queued *s, unsigned i, bool write, bool more)
{
	s->io[i] = (struct rt_io){ .file = &s->f,
				   .buf = s->buf + PAGES(i),
				   .len = RT_PAGE,
				   .off = PAGES(i),
				   .write = write,
				   .done = io_done };
	rt_ioq_submit(&s->q, &s->io[i], more);
}

static void queue_end(struct queued *s, uint32_t n)
{
	uint32_t now;

	while ((now = rt_load_u32(&s->done, RT_ACQUIRE)) < n)
		rt_wait(&s->done, now, 0);
	rt_ioq_close(&s->q);
	rt_pages_free(s->buf, PAGES(3));
	rt_file_close(&s->f);
}

static void requests_overtake_each_other(void)
{
	struct queued s;
	static const uint8_t number[4][4] = {
		[1] = { [2] = 0, [3] = 1 }, [2] = { [1] = 2, [3] = 3 }, [3] = { [1] = 4, [2] = 5 }
	};

	/* each of the six orders */
	expect(ALL(6));
	queue_begin(&s);
	for (unsigned i = 0; i < 3; i++)
		submit(&s, i, false, false);
	queue_end(&s, 3);
	saw(number[rt_load_u32(&s.order[0], RT_RELAXED)][rt_load_u32(&s.order[1], RT_RELAXED)]);
}

static void done_comes_before_submit_returns_or_after(void)
{
	struct queued s;

	expect(ALL(2));
	queue_begin(&s);
	submit(&s, 0, false, false);
	saw(rt_load_u32(&s.done, RT_RELAXED));
	queue_end(&s, 1);
}

static void with_more_it_waits_for_the_flush_or_not(void)
{
	struct queued s;

	/* 0: nothing was done before the flush, 1: something was */
	expect(ALL(2));
	queue_begin(&s);
	submit(&s, 0, false, true);
	submit(&s, 1, false, true);
	for (unsigned i = 0; i < 3; i++)
		rt_load_u32(&s.done, RT_RELAXED);
	uint32_t n = rt_load_u32(&s.done, RT_RELAXED);
	saw(n > 0);
	CHECK(n == 0 || !KNOB(lazy_more));
	rt_ioq_flush(&s.q);
	queue_end(&s, 2);
}

static void a_queued_read_ends_in_any_way(void)
{
	struct queued s;

	/* 0: all; 1: short; 2: failed */
	expect(ALL(3));
	queue_begin(&s);
	may_fail(true);
	submit(&s, 0, false, false);
	queue_end(&s, 1);
	int64_t res = s.io[0].res;
	saw(res < 0 ? 2 : res < (int64_t)RT_PAGE ? 1 : 0);
	CHECK(res == -EIO || res > 0);
}

static void a_queued_write_ends_in_any_way(void)
{
	struct queued s;

	expect(ALL(6));
	queue_begin(&s);
	for (unsigned i = 0; i < 2; i++)
		token_put(s.buf + PAGES(i), 90 + i);
	may_fail(true);
	submit(&s, 0, true, false);
	submit(&s, 1, true, false);
	queue_end(&s, 2);
	for (unsigned i = 0; i < 2; i++)
		saw_write(s.io[i].res, sim_file_word(0, i, 0) == token_word(90 + i, 0));
}

static void a_queue_is_refused(void)
{
	struct rt_ioq q;

	expect(ALL(2));
	may_fail(true);
	int err = rt_ioq_open(&q);
	may_fail(false);
	saw(err ? 0 : 1);
	if (!err)
		rt_ioq_close(&q);
}

/* --- runs -------------------------------------------------------------------------------- */

/* It goes; another one is left there. */
static void begin_with_the_frame(void)
{
	struct swapped s;
	const uint64_t *word = rt_pool_at(&pool_before, 0);

	for (size_t i = 0; i < RT_PAGE / 8; i++)
		CHECK(word[i] == BEFORE);
	for (unsigned i = 1; i < SIM_POOL_FRAMES; i++)
		CHECK(!S->pool_frame[i] &&
		      *(uint64_t *)(void *)S->pool_page[i] != token_word(200, 0));
	swapped_begin(&s);
	fill_pages(&s, 0, 2);
	take_pages(&s, 0, 2);
	if (KNOB(tlb)) {
		CHECK_IS(rt_mmu_put(&s.w.mmu, &pool_before, s.v, 0, 1), 1);
		STORES(s.v, 0, 1);
		CHECK_IS(take_row(&s.w.mmu, &pool_before, s.v, 0, 1, NULL), 1);
	} else {
		rt_pool_drop(&s.w.mmu, &pool_before, 0, 1);
	}
}

static void a_run_begins_as_the_last_one_did(void)
{
	expect(ALL(1));
	for (size_t i = 0; i < PAGES(2) / 8; i++)
		CHECK(pages_before[i] == BEFORE);
	memset(pages_before, 0x77, PAGES(2));
	/* The second page goes; of the first an object is freed. */
	rt_note_free(pages_before, RT_PAGE / 2);
	if (KNOB(tlb)) {
		rt_note_live(pages_before, RT_PAGE / 2);
		rt_pages_free(pages_before, PAGES(2));
		void *p = rt_pages_alloc(PAGES(3));
		CHECK(p);
		memset(p, 0x78, PAGES(3));
	}
	begin_with_the_frame();
	saw(0);
}

/* --- whose failure it was ------------------------------------------------------------------ */

static void allocate(void *arg)
{
	rt_u32 *n = arg;

	for (unsigned i = 0; i < 2; i++) {
		void *p = rt_pages_alloc(RT_PAGE);
		rt_add_u32(n, p ? 1 : 0, RT_RELAXED);
		rt_pages_free(p, RT_PAGE);
	}
}

/* on_failure() of the driver compares; here two kinds of calls come at once. */
static void failures_are_put_down_to_the_place_that_failed(void)
{
	struct world w;
	struct rt_thread t;
	rt_u32 n = { 0 };

	expect(1);
	world_open(&w, 2);
	uint64_t v = world_view(&w, 0, 2, RW, 0);
	thread_begin(&t, allocate, &n);
	may_fail(true);
	for (unsigned i = 0; i < 2; i++)
		rt_mmu_copy(&w.mmu, v + PAGES(i), w.buf, false);
	rt_thread_join(&t);
	may_fail(false);
	saw(0);
	rt_view_close(&w.mmu, v, PAGES(2));
	world_close(&w);
}

TESTS(kind, TEST(memory_and_threads_are_refused), TEST(freed_pages_come_back_at_once_or_late),
      TEST(objects_are_refused), TEST(a_fill_stops_after_any_page),
      TEST(a_fetch_fails_and_spoils_the_buffer), TEST(no_frame_is_left), TEST(views_are_refused),
      TEST(a_fixed_view_fails_with_or_without_what_was_there),
      TEST(a_move_fails_with_or_without_a_view_at_its_end),
      TEST(owning_fails_with_the_old_page_gone), TEST(a_map_stops_after_any_page),
      TEST(copy_and_unprotect_say_try_again), TEST(a_wait_ends_for_nothing),
      TEST(a_wait_times_out_before_others_go_on), TEST(a_wait_times_out_in_the_end),
      TEST(one_of_two_is_woken), TEST(a_killed_waiter_is_told), TEST(either_waiter_gets_the_lock),
      TEST(trylock_meets_a_holder), TEST(a_grace_period_ends_early_or_late),
      TEST(a_load_meets_a_zap_half_way), TEST(a_store_meets_a_wrprotect_half_way),
      TEST(a_page_is_seen_half_filled), TEST(a_fill_of_a_view_stops_after_any_page),
      TEST(a_take_stops_after_any_page), TEST(a_take_of_a_hole_meets_nobody),
      TEST(a_put_stops_after_any_page), TEST(a_move_stops_after_any_page), TEST(pools_are_refused),
      TEST(no_frame_is_left_for_a_view), TEST(a_store_meets_a_take_half_way),
      TEST(a_load_meets_a_move_half_way), TEST(what_the_core_may_not_do_is_seen), TEST(files_fail),
      TEST(a_read_stops_in_the_middle), TEST(a_write_ends_in_any_way),
      TEST(a_full_disk_takes_what_fits), TEST(what_is_not_synced_is_not_durable),
      TEST(a_sync_need_not_keep_what_came_after_it_began), TEST(requests_overtake_each_other),
      TEST(done_comes_before_submit_returns_or_after),
      TEST(with_more_it_waits_for_the_flush_or_not), TEST(a_queued_read_ends_in_any_way),
      TEST(a_queued_write_ends_in_any_way), TEST(a_queue_is_refused),
      TEST(a_run_begins_as_the_last_one_did), TEST(failures_are_put_down_to_the_place_that_failed));
