/* SPDX-License-Identifier: MIT */
/* ioq.c - reads and writes that run meanwhile: each is done once. */
#include <string.h>

#include "contract.h"

#define MOST 400

struct queued {
	struct rt_ioq q;
	struct rt_file f;
	char *buf;
	rt_u32 done;
	struct request {
		struct rt_io io;
		struct queued *of;
		rt_u32 times; /* done() ran */
		long by;
	} * r; /* `n` of them */
	unsigned n;
};

static void one_done(struct rt_io *io)
{
	struct request *r = (struct request *)io;

	r->by = driver_self();
	rt_add_u32(&r->times, 1, RT_RELAXED);
	rt_add_u32(&r->of->done, 1, RT_RELEASE);
	rt_wake(&r->of->done, UINT32_MAX);
}

static void queue_begin(struct queued *s, uint64_t bytes, bool writable, unsigned n)
{
	memset(s, 0, sizeof(*s));
	CHECK_IS(rt_file_open(&s->f, driver_file(bytes), writable, true), 0);
	CHECK_IS(rt_ioq_open(&s->q), 0);
	s->buf = rt_pages_alloc(PAGES(8));
	s->r = rt_pages_alloc(n * sizeof(*s->r));
	CHECK(s->buf);
	CHECK(s->r);
	s->n = n;
}

/* Request i: page `page`, in buffer page i % 8. */
static void put(struct queued *s, unsigned i, uint64_t page, bool write, bool more)
{
	struct request *r = &s->r[i];

	r->of = s;
	r->io = (struct rt_io){ .file = &s->f,
				.buf = s->buf + PAGES(i % 8),
				.len = RT_PAGE,
				.off = PAGES(page),
				.write = write,
				.res = -4711,
				.done = one_done };
	rt_ioq_submit(&s->q, &r->io, more);
}

static void wait_done(struct queued *s, uint32_t n)
{
	uint32_t now;

	while ((now = rt_load_u32(&s->done, RT_ACQUIRE)) < n)
		rt_wait(&s->done, now, 0);
}

static void queue_end(struct queued *s)
{
	rt_ioq_close(&s->q);
	for (unsigned i = 0; i < s->n; i++) {
		CHECK_IS(rt_load_u32(&s->r[i].times, RT_RELAXED), 1);
		CHECK(s->r[i].by != driver_self());
	}
	CHECK_IS(rt_load_u32(&s->done, RT_RELAXED), s->n);
	rt_file_close(&s->f);
	rt_pages_free(s->buf, PAGES(8));
	rt_pages_free(s->r, s->n * sizeof(*s->r));
}

/* What a request for a whole page of the file may give: all of it, or its front. */
static void check_page(struct queued *s, unsigned i, uint64_t page)
{
	int64_t res = s->r[i].io.res;

	CHECK(res > 0);
	CHECK(res <= (int64_t)RT_PAGE);
	for (unsigned k = 0; k < WORDS; k++)
		if (res > (int64_t)(k * (RT_PAGE / WORDS)))
			CHECK_IS(page_word(s->buf + PAGES(i % 8), k), driver_file_word(page, k));
}

static void a_read_completes(void)
{
	struct queued s;

	queue_begin(&s, PAGES(4), false, 1);
	put(&s, 0, 2, false, false);
	wait_done(&s, 1);
	check_page(&s, 0, 2);
	queue_end(&s);
}

static void a_write_completes(void)
{
	struct queued s;
	char *back;

	queue_begin(&s, PAGES(4), true, 1);
	token_put(s.buf, 10);
	put(&s, 0, 1, true, false);
	wait_done(&s, 1);
	CHECK(s.r[0].io.res > 0);
	CHECK(s.r[0].io.res <= (int64_t)RT_PAGE);
	back = s.buf + PAGES(1);
	CHECK(rt_file_read(&s.f, back, RT_PAGE, PAGES(1)) > 0);
	CHECK_IS(page_word(back, 0), token_word(10, 0));
	queue_end(&s);
}

static void several_complete_in_any_order(void)
{
	struct queued s;

	queue_begin(&s, PAGES(8), false, 8);
	for (unsigned i = 0; i < 8; i++)
		put(&s, i, 7 - i, false, false);
	wait_done(&s, 8);
	for (unsigned i = 0; i < 8; i++)
		check_page(&s, i, 7 - i);
	queue_end(&s);
}

static void with_more_a_flush_starts_them(void)
{
	struct queued s;

	queue_begin(&s, PAGES(4), false, 6);
	for (unsigned i = 0; i < 3; i++)
		put(&s, i, i, false, true);
	rt_ioq_flush(&s.q);
	wait_done(&s, 3);
	for (unsigned i = 0; i < 3; i++)
		check_page(&s, i, i);
	put(&s, 3, 3, false, true);
	put(&s, 4, 2, false, true);
	put(&s, 5, 1, false, false); /* or the submit of one with nothing to follow */
	wait_done(&s, 6);
	check_page(&s, 3, 3);
	check_page(&s, 4, 2);
	check_page(&s, 5, 1);
	rt_ioq_flush(&s.q); /* nothing to flush */
	queue_end(&s);
}

static void more_than_it_holds(void)
{
	struct queued s;
	unsigned n = driver_rounds(MOST) == MOST ? MOST : 20;

	queue_begin(&s, PAGES(4), false, n);
	for (unsigned i = 0; i < n; i++)
		put(&s, i, i % 4, false, i % 3 != 0);
	rt_ioq_flush(&s.q);
	wait_done(&s, n);
	for (unsigned i = n - 8; i < n; i++)
		CHECK(s.r[i].io.res > 0);
	queue_end(&s);
}

static void at_the_end_of_the_file_a_read_is_short(void)
{
	struct queued s;

	queue_begin(&s, PAGES(1) + RT_PAGE / 2, false, 2);
	put(&s, 0, 1, false, false);
	put(&s, 1, 3, false, false);
	wait_done(&s, 2);
	CHECK_IS(s.r[0].io.res, RT_PAGE / 2);
	CHECK_IS(s.r[1].io.res, 0);
	CHECK_IS(page_word(s.buf, 0), driver_file_word(1, 0));
	queue_end(&s);
}

static void what_fails_says_so(void)
{
	struct queued s;

	queue_begin(&s, PAGES(2), false, 2);
	put(&s, 0, 0, true, false); /* opened for reading alone */
	wait_done(&s, 1);
	CHECK(s.r[0].io.res < 0);
	put(&s, 1, 0, false, false);
	wait_done(&s, 2);
	check_page(&s, 1, 0);
	queue_end(&s);
}

struct submitter {
	struct queued *s;
	rt_u32 next;
};

static void submit_three(void *arg)
{
	struct submitter *u = arg;
	uint32_t me = rt_add_u32(&u->next, 1, RT_RELAXED);

	for (unsigned i = 0; i < 3; i++)
		put(u->s, me * 3 + i, me, false, i < 2);
}

static void threads_submit_at_once(void)
{
	struct queued s;
	struct submitter u = { .s = &s };
	struct rt_thread t[2];

	queue_begin(&s, PAGES(4), false, 6);
	thread_begin(&t[0], submit_three, &u);
	thread_begin(&t[1], submit_three, &u);
	rt_thread_join(&t[0]);
	rt_thread_join(&t[1]);
	wait_done(&s, 6);
	for (unsigned i = 0; i < 6; i++)
		check_page(&s, i, i / 3);
	queue_end(&s);
}

struct chained {
	struct queued s;
	struct rt_lock l;
};

/* done() may do what any thread may: take a lock, write a file. */
static void write_when_done(struct rt_io *io)
{
	struct request *r = (struct request *)io;
	struct chained *c = (struct chained *)r->of;

	rt_lock(&c->l);
	token_put(c->s.buf + PAGES(4), 70);
	rt_unlock(&c->l);
	CHECK(rt_file_write(&c->s.f, c->s.buf + PAGES(4), RT_PAGE, PAGES(3)) > 0);
	one_done(io);
}

static void done_may_sleep(void)
{
	struct chained c;

	queue_begin(&c.s, PAGES(4), true, 1);
	rt_lock_init(&c.l);
	rt_lock(&c.l);
	c.s.r[0] = (struct request){ .of = &c.s };
	c.s.r[0].io = (struct rt_io){
		.file = &c.s.f, .buf = c.s.buf, .len = RT_PAGE, .done = write_when_done
	};
	rt_ioq_submit(&c.s.q, &c.s.r[0].io, false);
	CHECK_IS(rt_load_u32(&c.s.done, RT_ACQUIRE), 0);
	rt_unlock(&c.l);
	wait_done(&c.s, 1);
	CHECK(rt_file_read(&c.s.f, c.s.buf, RT_PAGE, PAGES(3)) > 0);
	CHECK_IS(page_word(c.s.buf, 0), token_word(70, 0));
	queue_end(&c.s);
}

/* After the last done() is in the midst of it, too: it has said so, and not returned. */
static void touch_after_saying_so(struct rt_io *io)
{
	struct request *r = (struct request *)io;
	struct chained *c = (struct chained *)r->of;

	rt_lock(&c->l);
	one_done(io);
	c->s.r[0].by = driver_self();
	rt_unlock(&c->l);
}

static void close_waits_for_the_last_done(void)
{
	struct chained c;

	queue_begin(&c.s, PAGES(4), false, 1);
	rt_lock_init(&c.l);
	c.s.r[0] = (struct request){ .of = &c.s };
	c.s.r[0].io = (struct rt_io){
		.file = &c.s.f, .buf = c.s.buf, .len = RT_PAGE, .done = touch_after_saying_so
	};
	rt_ioq_submit(&c.s.q, &c.s.r[0].io, false);
	wait_done(&c.s, 1);
	rt_ioq_close(&c.s.q);
	CHECK(rt_trylock(&c.l));
	rt_unlock(&c.l);
	rt_file_close(&c.s.f);
	rt_pages_free(c.s.buf, PAGES(8));
	rt_pages_free(c.s.r, sizeof(*c.s.r));
}

static void close_waits_for_what_is_under_way(void)
{
	enum { N = 8 };
	struct queued s;

	queue_begin(&s, PAGES(8), false, N);
	for (unsigned i = 0; i < N; i++)
		put(&s, i, i % 8, false, false);
	rt_ioq_close(&s.q);
	for (unsigned i = 0; i < N; i++)
		CHECK_IS(rt_load_u32(&s.r[i].times, RT_ACQUIRE), 1);
	rt_file_close(&s.f);
	rt_pages_free(s.buf, PAGES(8));
	rt_pages_free(s.r, N * sizeof(*s.r));
}

static void a_queue_without_requests(void)
{
	struct rt_ioq q;

	CHECK_IS(rt_ioq_open(&q), 0);
	rt_ioq_flush(&q);
	rt_ioq_close(&q);
	CHECK_IS(rt_ioq_open(&q), 0);
	rt_ioq_close(&q);
}

TESTS(ioq, TEST(a_read_completes), TEST(a_write_completes), TEST(several_complete_in_any_order),
      TEST(with_more_a_flush_starts_them), TEST(more_than_it_holds),
      TEST(at_the_end_of_the_file_a_read_is_short), TEST(what_fails_says_so),
      TEST(threads_submit_at_once), TEST(done_may_sleep), TEST(close_waits_for_the_last_done),
      TEST(close_waits_for_what_is_under_way), TEST(a_queue_without_requests));
