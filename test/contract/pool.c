/* SPDX-License-Identifier: MIT */
/*
 * pool.c - what the real machine's anonymous memory does beyond the promises of rt.h: which
 * way a page goes, how many frames stay populated, and what is left when the kernel refuses.
 * Each with UFFDIO_MOVE and without (contract.c).
 */
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "contract.h"
#include "rt/native/anon.h"
#include "rt/native/uffd.h"

#define RW    (RT_READ | RT_WRITE)
#define MANY  40  /* pages in a row: by MOVE, where there is one */
#define STALE 256 /* frames that may stay populated */

_Static_assert(MANY >= RUN_MOVED, "a run that is moved");

struct pooled {
	struct world w;
	struct rt_pool pool;
	uint64_t v, pages;
	char *content; /* of so many pages */
};

static void pooled_open(struct pooled *p, uint64_t pages, uint64_t frames)
{
	world_open(&p->w, 1);
	CHECK_IS(rt_pool_open(&p->w.mmu, &p->pool, frames), 0);
	p->pages = pages;
	p->v = 0;
	CHECK_IS(rt_view_open(&p->w.mmu, NULL, 0, PAGES(pages), RW, RT_VIEW_PRIVATE, &p->v), 0);
	p->content = rt_pages_alloc(PAGES(pages));
	CHECK(p->content);
}

static void pooled_close(struct pooled *p)
{
	rt_pages_free(p->content, PAGES(p->pages));
	rt_view_close(&p->w.mmu, p->v, PAGES(p->pages));
	rt_pool_close(&p->w.mmu, &p->pool);
	world_close(&p->w);
}

/* Of pages [at, at+n): tokens token, token + 1 ... */
static int64_t fill(struct pooled *p, uint64_t at, uint64_t n, uint64_t token, bool wp)
{
	for (uint64_t i = 0; i < n; i++)
		token_put(p->content + PAGES(i), token + i);
	return rt_mmu_fill(&p->w.mmu, p->v + PAGES(at), p->content, n, wp);
}

static int64_t take(struct pooled *p, uint64_t at, uint64_t frame, uint64_t n,
		    const uint64_t *there)
{
	return take_row(&p->w.mmu, &p->pool, p->v + PAGES(at), frame, n, there);
}

static int64_t put(struct pooled *p, uint64_t at, uint64_t frame, uint64_t n)
{
	return rt_mmu_put(&p->w.mmu, &p->pool, p->v + PAGES(at), frame, n);
}

static uint64_t frame_word(struct pooled *p, uint64_t frame)
{
	return page_word(rt_pool_at(&p->pool, frame), 1);
}

/* Pages that the kernel has in memory there. */
static uint64_t populated(const void *at, uint64_t pages)
{
	unsigned char in[64];
	uint64_t sum = 0;

	for (uint64_t i = 0; i < pages; i += sizeof(in)) {
		uint64_t n = pages - i < sizeof(in) ? pages - i : sizeof(in);
		CHECK_IS(mincore((char *)at + PAGES(i), PAGES(n), in), 0);
		for (uint64_t k = 0; k < n; k++)
			sum += in[k] & 1;
	}
	return sum;
}

/* --- against a model ---------------------------------------------------------------------- */

#define MODEL_PAGES  700
#define MODEL_FRAMES 1500
#define MODEL_STEPS  800

struct model {
	struct pooled p;
	uint64_t random, token, other; /* the address of a second view */
	uint64_t page[MODEL_PAGES];    /* token, 0: not mapped */
	bool protected[MODEL_PAGES];
	uint64_t frame[MODEL_FRAMES];
};

static uint64_t below(struct model *m, uint64_t n)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random % n;
}

/* How many in a row from `of` on are something, or nothing; at most n. */
static uint64_t in_a_row(const uint64_t *of, uint64_t n, bool something)
{
	uint64_t k = 0;

	while (k < n && (of[k] != 0) == something)
		k++;
	return k;
}

static void model_fill(struct model *m, uint64_t at, uint64_t n)
{
	uint64_t k = in_a_row(m->page + at, n, false);
	bool wp = below(m, 4) == 0;

	CHECK_IS(fill(&m->p, at, n, m->token, wp), k ? (int64_t)k : -EEXIST);
	for (uint64_t i = 0; i < k; i++) {
		m->page[at + i] = m->token + i;
		m->protected[at + i] = wp;
	}
	m->token += n;
}

static void model_take(struct model *m, uint64_t at, uint64_t n)
{
	uint64_t frame = below(m, MODEL_FRAMES - n + 1), there[BITMAP_WORDS(MODEL_PAGES)] = { 0 };
	bool all = in_a_row(m->page + at, n, true) == n;

	if (in_a_row(m->frame + frame, n, false) < n)
		return;
	for (uint64_t i = 0; i < n; i++) {
		if (m->page[at + i])
			bitmap_set_run(there, i, 1);
		m->frame[frame + i] = m->page[at + i];
		m->page[at + i] = 0;
	}
	CHECK_IS(take(&m->p, at, frame, n, all ? NULL : there), (int64_t)n);
}

static void model_put(struct model *m, uint64_t at, uint64_t most)
{
	uint64_t frame = below(m, MODEL_FRAMES);

	frame += in_a_row(m->frame + frame, MODEL_FRAMES - frame, false);
	uint64_t left = MODEL_FRAMES - frame;
	uint64_t n = in_a_row(m->frame + frame, most < left ? most : left, true);
	uint64_t k = in_a_row(m->page + at, n, false);
	if (n == 0)
		return;
	CHECK_IS(put(&m->p, at, frame, n), k ? (int64_t)k : -EEXIST);
	for (uint64_t i = 0; i < k; i++) {
		m->page[at + i] = m->frame[frame + i];
		m->protected[at + i] = false;
		m->frame[frame + i] = 0;
	}
}

/* To the other view and back, over a write protection of nothing. */
static void model_move(struct model *m, uint64_t at, uint64_t most)
{
	uint64_t n = in_a_row(m->page + at, most, true), v = m->p.v + PAGES(at);

	if (n == 0)
		return;
	CHECK_IS(rt_mmu_move(&m->p.w.mmu, m->other, v, n), (int64_t)n);
	LOADS(m->other, 1, token_word(m->page[at], 1));
	STORES(m->other, 0, token_word(m->page[at], 0));
	if (below(m, 2))
		rt_mmu_wrprotect(&m->p.w.mmu, v, n);
	CHECK_IS(rt_mmu_move(&m->p.w.mmu, v, m->other, n), (int64_t)n);
	memset(m->protected + at, 0, n * sizeof(bool));
}

static void model_step(struct model *m)
{
	uint64_t at = below(m, MODEL_PAGES), most = MODEL_PAGES - at;
	uint64_t n = 1 + below(m, below(m, 4) && most > 8 ? 8 : most);

	switch (below(m, 11)) {
	case 0 ... 2:
		return model_fill(m, at, n);
	case 3 ... 4:
		return model_take(m, at, n);
	case 5 ... 7:
		return model_put(m, at, n);
	case 8:
		return model_move(m, at, n);
	case 9:
		rt_pool_drop(&m->p.w.mmu, &m->p.pool, at, n);
		memset(m->frame + at, 0, n * sizeof(uint64_t));
		return;
	default:
		CHECK_IS(rt_mmu_wrprotect(&m->p.w.mmu, m->p.v + PAGES(at), n), 0);
		memset(m->protected + at, 1, n * sizeof(bool));
	}
}

static void model_check(struct model *m)
{
	uint64_t mapped = 0, used = 0;

	for (uint64_t i = 0; i < MODEL_PAGES; i++) {
		uint64_t at = m->p.v + PAGES(i);
		if (!m->page[i]) {
			FAULTS(at, i & 1);
			continue;
		}
		mapped++;
		LOADS(at, 1, token_word(m->page[i], 1));
		if (m->protected[i])
			FAULTS(at, true);
		else
			STORES(at, 0, token_word(m->page[i], 0));
	}
	for (uint64_t i = 0; i < MODEL_FRAMES; i++)
		if (m->frame[i]) {
			used++;
			CHECK_IS(frame_word(&m->p, i), token_word(m->frame[i], 1));
		}
	CHECK_IS(populated((void *)m->p.v, MODEL_PAGES), mapped);
	CHECK_IS(populated(m->p.pool.base, MODEL_FRAMES), used + m->p.pool.stale_n);
	CHECK(m->p.pool.stale_n <= STALE);
}

static void any_calls_leave_what_a_model_says(void)
{
	struct model *m = rt_pages_alloc(sizeof(*m));

	CHECK(m);
	for (unsigned seed = 1; seed <= 3; seed++) {
		memset(m, 0, sizeof(*m));
		m->random = 0x9e3779b97f4a7c15ull * seed;
		m->token = 1;
		pooled_open(&m->p, MODEL_PAGES, MODEL_FRAMES);
		CHECK_IS(rt_view_open(&m->p.w.mmu, NULL, 0, PAGES(MODEL_PAGES), RW, RT_VIEW_PRIVATE,
				      &m->other),
			 0);
		for (unsigned step = 0; step < MODEL_STEPS; step++) {
			model_step(m);
			if (step % 20 == 0)
				model_check(m);
		}
		model_check(m);
		rt_view_close(&m->p.w.mmu, m->other, PAGES(MODEL_PAGES));
		pooled_close(&m->p);
	}
	rt_pages_free(m, sizeof(*m));
}

/* --- stale frames ------------------------------------------------------------------------- */

static void of_many_dropped_frames_few_stay_populated(void)
{
	struct pooled p;
	uint64_t most = 0;

	pooled_open(&p, 64, 64 * 20);
	for (uint64_t k = 0; k < 20; k++) {
		CHECK_IS(fill(&p, 0, 64, 100, false), 64);
		CHECK_IS(take(&p, 0, k * 64, 64, NULL), 64);
		for (uint64_t i = 1; i < 64; i += 2)
			rt_pool_drop(&p.w.mmu, &p.pool, k * 64 + i, 1);
		uint64_t stale = populated(p.pool.base, p.pool.frames) - (k + 1) * 32;
		CHECK(stale <= STALE);
		most = stale > most ? stale : most;
	}
	CHECK(most > STALE / 2); /* else nothing was shed, and nothing was tried */
	for (uint64_t i = 0; i < 64 * 20; i += 2)
		CHECK_IS(frame_word(&p, i), token_word(100 + i % 64, 1));
	rt_pool_drop(&p.w.mmu, &p.pool, 0, 64 * 20);
	CHECK_IS(populated(p.pool.base, p.pool.frames), 0);
	pooled_close(&p);
}

static void a_frame_that_never_was_there_is_dropped(void)
{
	struct pooled p;

	pooled_open(&p, 2, 4);
	rt_pool_drop(&p.w.mmu, &p.pool, 0, 4);
	CHECK_IS(fill(&p, 0, 2, 50, false), 2);
	CHECK_IS(take(&p, 0, 1, 2, NULL), 2);
	CHECK_IS(frame_word(&p, 1), token_word(50, 1));
	pooled_close(&p);
}

static void a_long_run_comes_to_stale_frames(void)
{
	struct pooled p;

	pooled_open(&p, MANY, MANY);
	CHECK_IS(fill(&p, 0, 9, 60, false), 9);
	CHECK_IS(take(&p, 0, 5, 9, NULL), 9);
	rt_pool_drop(&p.w.mmu, &p.pool, 5, 9);
	CHECK_IS(populated(p.pool.base, MANY), 9);
	CHECK_IS(fill(&p, 0, MANY, 70, false), MANY);
	CHECK_IS(take(&p, 0, 0, MANY, NULL), MANY);
	for (uint64_t i = 0; i < MANY; i++)
		CHECK_IS(frame_word(&p, i), token_word(70 + i, 1));
	CHECK_IS(put(&p, 0, 0, MANY), MANY);
	CHECK_IS(populated(p.pool.base, MANY), 0);
	pooled_close(&p);
}

/* One run of pages: 40 of its frames in a row, which are moved, the others singly. */
static void a_run_goes_to_rows_of_frames_and_single_ones(void)
{
	uint32_t frame[100];
	struct pooled p;

	pooled_open(&p, 100, 600);
	CHECK_IS(fill(&p, 0, 100, 100, false), 100);
	for (uint32_t i = 0; i < 100; i++)
		frame[i] = i >= 30 && i < 70 ? 400 + i : 399 - 2 * i;
	CHECK_IS(rt_mmu_take(&p.w.mmu, &p.pool, p.v, frame, 100, NULL), 100);
	CHECK_IS(populated((void *)p.v, 100), 0);
	for (uint64_t i = 0; i < 100; i++)
		CHECK_IS(frame_word(&p, frame[i]), token_word(100 + i, 1));
	pooled_close(&p);
}

/*
 * The first page's entry changes all the while: the program uses the page, and is told by
 * MADV_COLD that it does not. Where the kernel finds an entry changed under it, it begins
 * that page again, and Linux 6.18 does not count then what it moves (anon.c).
 */
#define ROUNDS 4000

struct toucher {
	struct pooled p;
	rt_u32 stop;
};

static void change_the_entry(void *arg)
{
	struct toucher *s = arg;
	uint64_t value = 7;

	while (!rt_load_u32(&s->stop, RT_ACQUIRE)) {
		driver_touch(s->p.v, 1, true, &value);
		madvise((void *)s->p.v, RT_PAGE, MADV_COLD);
	}
}

static void take_all(struct pooled *p)
{
	for (uint64_t done = 0; done < MANY;) {
		int64_t n = take(p, done, done, MANY - done, NULL);
		CHECK(n > 0 || n == -EAGAIN);
		done += n > 0 ? (uint64_t)n : 0;
	}
}

static void what_is_moved_while_an_entry_changes_is_counted(void)
{
	struct toucher s = { 0 };
	struct rt_thread t;

	pooled_open(&s.p, MANY, MANY);
	thread_begin(&t, change_the_entry, &s);
	for (unsigned i = 0; i < ROUNDS; i++) {
		CHECK_IS(fill(&s.p, 0, MANY, 100, false), MANY);
		take_all(&s.p);
		CHECK_IS(frame_word(&s.p, MANY - 1), token_word(100 + MANY - 1, 1));
		rt_pool_drop(&s.p.w.mmu, &s.p.pool, 0, MANY);
	}
	rt_store_u32(&s.stop, 1, RT_RELEASE);
	rt_thread_join(&t);
	pooled_close(&s.p);
}

static void a_move_from_two_views_moves_nothing(void)
{
	struct pooled p;
	uint64_t to = 0;

	pooled_open(&p, 4, 1);
	CHECK_IS(rt_view_open(&p.w.mmu, NULL, 0, PAGES(4), RW, RT_VIEW_PRIVATE, &to), 0);
	CHECK_IS(fill(&p, 0, 4, 80, false), 4);
	CHECK_IS(rt_view_protect(&p.w.mmu, p.v + PAGES(2), PAGES(2), RT_READ), 0);
	CHECK_IS(rt_mmu_move(&p.w.mmu, to, p.v, 4), -ENOENT);
	for (uint64_t i = 0; i < 4; i++) {
		LOADS(p.v + PAGES(i), 1, token_word(80 + i, 1));
		FAULTS(to + PAGES(i), false);
	}
	STORES(p.v, 0, 1); /* not write-protected either */
	rt_view_close(&p.w.mmu, to, PAGES(4));
	pooled_close(&p);
}

/* --- what MOVE refuses ----------------------------------------------------------------------- */

static void there_and_back(struct pooled *p)
{
	CHECK_IS(take(p, 0, 3, MANY, NULL), MANY);
	FAULTS(p->v, false);
	CHECK_IS(frame_word(p, 3), token_word(200, 1));
	CHECK_IS(put(p, 0, 3, MANY), MANY);
	for (uint64_t i = 0; i < MANY; i++)
		LOADS(p->v + PAGES(i), 1, token_word(200 + i, 1));
}

static void a_long_run_that_cannot_be_written_is_copied(void)
{
	struct pooled p;

	pooled_open(&p, MANY, MANY + 3);
	CHECK_IS(fill(&p, 0, MANY, 200, false), MANY);
	CHECK_IS(rt_view_protect(&p.w.mmu, p.v, PAGES(MANY), RT_READ), 0);
	there_and_back(&p);
	REFUSES(p.v, true);
	CHECK_IS(rt_view_protect(&p.w.mmu, p.v, PAGES(MANY), RW), 0);
	STORES(p.v, 0, 1);
	pooled_close(&p);
}

static void a_long_run_that_is_locked_is_copied(void)
{
	struct pooled p;

	pooled_open(&p, MANY, MANY + 3);
	CHECK_IS(fill(&p, 0, MANY, 200, false), MANY);
	if (mlock((void *)p.v, PAGES(MANY)) != 0)
		driver_skip("no mlock here");
	there_and_back(&p);
	pooled_close(&p);
}

/* As a transfer does: what is there cannot move. */
static void pin(struct io_uring *ring, void *page)
{
	struct iovec v = { page, RT_PAGE };

	if (io_uring_queue_init(2, ring, 0) != 0)
		driver_skip("no io_uring here");
	CHECK_IS(io_uring_register_buffers(ring, &v, 1), 0);
}

static void unpin(struct io_uring *ring)
{
	CHECK_IS(io_uring_unregister_buffers(ring), 0);
	io_uring_queue_exit(ring);
}

/* The kernel may let go of the page a little later. */
static void finally(struct pooled *p, int64_t (*fn)(struct pooled *p, uint64_t at), uint64_t at,
		    int64_t want)
{
	int64_t got;

	do {
		got = fn(p, at);
	} while (got == -EBUSY);
	CHECK_IS(got, want);
}

static int64_t take_rest(struct pooled *p, uint64_t at)
{
	return take(p, at, at, MANY - at, NULL);
}

static int64_t put_rest(struct pooled *p, uint64_t at)
{
	return put(p, at, at, MANY - at);
}

static void up_to_a_busy_page_all_is_done(void)
{
	struct pooled p;
	struct io_uring ring;

	pooled_open(&p, MANY, MANY);
	CHECK_IS(fill(&p, 0, MANY, 400, false), MANY);
	if (p.w.mmu.has_move) {
		/* What is left would be too short to be moved: it is not thought of as stale. */
		pin(&ring, (void *)(p.v + PAGES(10)));
		CHECK_IS(take_rest(&p, 0), 10);
		CHECK_IS(p.pool.stale_n, 0);
		unpin(&ring);
		CHECK_IS(put(&p, 0, 0, 10), 10);
		pin(&ring, (void *)(p.v + PAGES(4)));
		CHECK_IS(take_rest(&p, 0), 4);
		CHECK_IS(take_rest(&p, 4), -EBUSY);
		LOADS(p.v + PAGES(4), 1, token_word(404, 1));
		CHECK_IS(populated(p.pool.base, MANY), 4);
		unpin(&ring);
		finally(&p, take_rest, 4, MANY - 4);
		for (uint64_t i = 0; i < MANY; i++)
			CHECK_IS(frame_word(&p, i), token_word(400 + i, 1));
		pin(&ring, rt_pool_at(&p.pool, 4));
		CHECK_IS(put_rest(&p, 0), 4);
		CHECK_IS(put_rest(&p, 4), -EBUSY);
		CHECK_IS(frame_word(&p, 4), token_word(404, 1));
		unpin(&ring);
		finally(&p, put_rest, 4, MANY - 4);
	} else {
		CHECK_IS(take_rest(&p, 0), MANY); /* copying is never in anybody's way */
		CHECK_IS(put_rest(&p, 0), MANY);
	}
	for (uint64_t i = 0; i < MANY; i++)
		LOADS(p.v + PAGES(i), 1, token_word(400 + i, 1));
	pooled_close(&p);
}

/* --- what the kernel refuses in the middle ---------------------------------------------------- */

/* From now on that ioctl fails, for this process and for good: in a child. */
static bool refuse(unsigned cmd, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, cmd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

#define REFUSED_PAGES 64
#define NO_SECCOMP    77

/* In the child a check that fails ends it with the number of its line. */
#define HOLDS(c)                                                                                   \
	do {                                                                                       \
		if (!(c))                                                                          \
			return __LINE__;                                                           \
	} while (0)

/*
 * Page 0, a long run [2, 42) and pages 50 and 51 are mapped, and frames 0 and 50 are stale, so
 * that those are copied without a call. Of a world of the child's own: views are not there in
 * a child.
 */
struct refused {
	struct pooled p;
	uint64_t there;
};

static bool refused_open(struct refused *r)
{
	struct pooled *p = &r->p;

	pooled_open(p, REFUSED_PAGES, REFUSED_PAGES);
	r->there = 0;
	bitmap_set_run(&r->there, 0, 1);
	bitmap_set_run(&r->there, 2, MANY);
	bitmap_set_run(&r->there, 50, 2);
	for (unsigned frame = 0; frame <= 50; frame += 50) {
		if (fill(p, 0, 1, 1, false) != 1 || take(p, 0, frame, 1, NULL) != 1)
			return false;
		rt_pool_drop(&p->w.mmu, &p->pool, frame, 1);
	}
	return fill(p, 0, 1, 300, false) == 1 && fill(p, 2, MANY, 302, false) == MANY &&
	       fill(p, 50, 2, 350, false) == 2;
}

static uint64_t word_at(struct refused *r, uint64_t page)
{
	return page_word((char *)r->p.v + PAGES(page), 1);
}

static int copy_is_refused(struct refused *r)
{
	bool has_move = r->p.w.mmu.has_move;
	/* Without MOVE the long run is copied too, and the first to fail. */
	uint64_t end = has_move ? 51 : 2;

	HOLDS(take(&r->p, 0, 0, REFUSED_PAGES, &r->there) == (int64_t)end);
	HOLDS(frame_word(&r->p, 0) == token_word(300, 1));
	if (has_move) {
		HOLDS(frame_word(&r->p, 41) == token_word(341, 1));
		HOLDS(frame_word(&r->p, 50) == token_word(350, 1));
	}
	HOLDS(populated((void *)r->p.v, end) == 0);
	HOLDS(populated((void *)r->p.v, REFUSED_PAGES) == (has_move ? 1 : MANY + 2));
	HOLDS(word_at(r, 51) == token_word(351, 1));
	uint64_t rest = r->there >> end;
	HOLDS(take(&r->p, end, end, REFUSED_PAGES - end, &rest) == -ENOMEM);
	HOLDS(word_at(r, 51) == token_word(351, 1));
	rt_mmu_unprotect(&r->p.w.mmu, r->p.v + PAGES(51), 1);
	*(volatile uint64_t *)(r->p.v + PAGES(51)) = 1;
	return 0;
}

static int move_is_refused(struct refused *r)
{
	if (!r->p.w.mmu.has_move) {
		HOLDS(take(&r->p, 0, 0, REFUSED_PAGES, &r->there) == REFUSED_PAGES);
		return 0;
	}
	/* Pages 50 and 51 were copied meanwhile, and are where they were all the same. */
	HOLDS(take(&r->p, 0, 0, REFUSED_PAGES, &r->there) == 2);
	HOLDS(frame_word(&r->p, 0) == token_word(300, 1));
	HOLDS(populated((void *)r->p.v, REFUSED_PAGES) == MANY + 2);
	HOLDS(word_at(r, 2) == token_word(302, 1));
	HOLDS(word_at(r, 50) == token_word(350, 1));
	uint64_t rest = r->there >> 2;
	HOLDS(take(&r->p, 2, 2, REFUSED_PAGES - 2, &rest) == -EBUSY);
	/* And to the same frames: nothing thinks that they are there. */
	HOLDS(take(&r->p, 50, 50, 2, NULL) == 2);
	HOLDS(frame_word(&r->p, 50) == token_word(350, 1));
	return 0;
}

static int a_move_is_refused(struct refused *r)
{
	struct rt_mmu *mmu = &r->p.w.mmu;
	uint64_t to = 0;

	HOLDS(rt_view_open(mmu, NULL, 0, PAGES(MANY), RW, RT_VIEW_PRIVATE, &to) == 0);
	int64_t want = mmu->has_move ? MANY : -ENOMEM;
	HOLDS(rt_mmu_move(mmu, to, r->p.v + PAGES(2), MANY) == want);
	HOLDS(populated((void *)to, MANY) == (want > 0 ? MANY : 0));
	if (want > 0)
		return 0;
	for (uint64_t i = 2; i < 2 + MANY; i++)
		HOLDS(word_at(r, i) == token_word(300 + i, 1));
	return 0;
}

static void in_a_child(int (*fn)(struct refused *r), unsigned cmd, int err)
{
	struct world w;
	int status;

	world_open(&w, 1); /* is skipped where there is none */
	world_close(&w);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct refused r;

		if (!refused_open(&r))
			_exit(1);
		if (!refuse(cmd, err))
			_exit(NO_SECCOMP);
		int line = fn(&r);
		if (line)
			dprintf(STDERR_FILENO, "pool.c:%d, in the child\n", line);
		_exit(line != 0);
	}
	CHECK_IS(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SECCOMP)
		driver_skip("no seccomp here");
	CHECK_IS(status, 0);
}

static void a_take_that_finds_no_memory_ends_there(void)
{
	in_a_child(copy_is_refused, UFFDIO_COPY, ENOMEM);
}

static void a_take_that_meets_a_busy_page_ends_there(void)
{
	in_a_child(move_is_refused, UFFDIO_MOVE, EBUSY);
}

static void a_move_that_finds_no_memory_moves_nothing(void)
{
	in_a_child(a_move_is_refused, UFFDIO_COPY, ENOMEM);
}

TESTS(pool, TEST(any_calls_leave_what_a_model_says),
      TEST(of_many_dropped_frames_few_stay_populated),
      TEST(a_frame_that_never_was_there_is_dropped), TEST(a_long_run_comes_to_stale_frames),
      TEST(a_run_goes_to_rows_of_frames_and_single_ones),
      TEST(what_is_moved_while_an_entry_changes_is_counted),
      TEST(a_move_from_two_views_moves_nothing), TEST(a_long_run_that_cannot_be_written_is_copied),
      TEST(a_long_run_that_is_locked_is_copied), TEST(up_to_a_busy_page_all_is_done),
      TEST(a_take_that_finds_no_memory_ends_there), TEST(a_take_that_meets_a_busy_page_ends_there),
      TEST(a_move_that_finds_no_memory_moves_nothing));
