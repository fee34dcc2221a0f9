/* SPDX-License-Identifier: MIT */
/*
 * test_msync.c - what is dirty, when it reaches the file, and what a write
 * that fails leaves behind: everything.
 */
#include "harness.h"

#include <pthread.h>

#define RW (PROT_READ | PROT_WRITE)

static void sync_writes(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, 4 * MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, 4 * MIB, 2, 0);
	assert_true(h_stats(q).dirty > 0);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_int_equal(h_stats(q).dirty, 0);
	assert_file_pattern(fd, 4 * MIB, 2, 0);
	/* A write after it makes it dirty again. */
	p[5] = 1;
	assert_int_equal(h_stats(q).dirty, PAGE);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	{
		uint8_t byte;

		h_file_read(fd, &byte, 1, 5);
		assert_int_equal(byte, 1);
	}
	assert_ok(quire_close(q));
}

static void sync_of_a_range(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(4 * MIB, 1);
	uint8_t *p = h_map_store(q, 4 * MIB, RW, MAP_SHARED, s);

	p[0] = 1;
	p[2 * MIB] = 2;
	assert_ok(quire_msync(q, p + 2 * MIB, PAGE, MS_SYNC));
	assert_int_equal(s->data[2 * MIB], 2);
	assert_true(s->syncs > 0);
	assert_ok(quire_msync(q, p, PAGE, MS_SYNC));
	assert_int_equal(s->data[0], 1);
	assert_ok(quire_close(q));
}

/* A barrier also for what another view, or one that is gone, has written. */
static void sync_through_another_view(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *a = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *b = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	h_fill(a, MIB / 2, 2, 0);
	assert_ok(quire_msync(q, b, MIB, MS_SYNC));
	assert_file_pattern(fd, MIB / 2, 2, 0);
	h_fill(a, MIB, 3, 0);
	assert_ok(quire_munmap(q, a, MIB));
	assert_ok(quire_msync(q, b, MIB, MS_SYNC));
	assert_file_pattern(fd, MIB, 3, 0);
	assert_ok(quire_close(q));
}

static void async_gets_there(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);

	h_fill(p, MIB, 2, 0);
	assert_ok(quire_msync(q, p, MIB, MS_ASYNC));
	/* Nobody waits for it; that it comes is enough. */
	while (h_stats(q).dirty || h_stats(q).writeback)
		h_sleep_ms(1);
	assert_pattern(s->data, MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void invalidate_is_accepted(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, MIB, 2, 0);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC | MS_INVALIDATE));
	assert_pattern(p, MIB, 2, 0);
	assert_file_pattern(fd, MIB, 2, 0);
	assert_ok(quire_msync(q, p, MIB, MS_INVALIDATE));
	assert_ok(quire_msync(q, p, MIB, 0));
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_errno(quire_msync(q, p + 1, PAGE, MS_SYNC), EINVAL);
	assert_errno(quire_msync(q, p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	assert_errno(quire_msync(q, p, PAGE, 0x100), EINVAL);
	assert_ok(quire_msync(q, p, 0, MS_SYNC));
	assert_errno(quire_msync(q, p, 2 * MIB, MS_SYNC), ENOMEM);
	/* As msync(2): what is there is synced, and then the hole is told. */
	h_fill(p, MIB, 2, 0);
	assert_ok(quire_munmap(q, p + 100 * PAGE, PAGE));
	assert_errno(quire_msync(q, p, MIB, MS_SYNC), ENOMEM);
	assert_file_pattern(fd, MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void fail_then_succeed(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(4 * MIB, 1);
	uint8_t *p = h_map_store(q, 4 * MIB, RW, MAP_SHARED, s);
	int i;

	h_fill(p, 4 * MIB, 2, 0);
	s->write_error = EIO;
	for (i = 0; i < 3; i++) {
		assert_errno(quire_msync(q, p, 4 * MIB, MS_SYNC), EIO);
		assert_true(h_stats(q).dirty > 0);
		assert_pattern(p, 4 * MIB, 2, 0);
	}
	assert_true(h_stats(q).write_errors > 0);
	s->write_error = 0;
	h_msync_healed(q, p, 4 * MIB, EIO);
	assert_int_equal(h_stats(q).dirty, 0);
	assert_pattern(s->data, 4 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void full_store_keeps_its_errno(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);
	static const int errors[] = { ENOSPC, EDQUOT, EIO };
	size_t i;

	for (i = 0; i < 3; i++) {
		h_fill(p, MIB, 10 + i, 0);
		s->write_error = errors[i];
		assert_errno(quire_msync(q, p, MIB, MS_SYNC), errors[i]);
		s->write_error = 0;
		h_msync_healed(q, p, MIB, errors[i]);
		assert_pattern(s->data, MIB, 10 + i, 0);
	}
	assert_ok(quire_close(q));
}

/* One page of many fails: the others are written, the one is tried again. */
static void one_bad_page(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(4 * MIB, 1);
	uint8_t *p = h_map_store(q, 4 * MIB, RW, MAP_SHARED, s);

	s->fail_from = 2 * MIB;
	s->fail_to = 2 * MIB + PAGE;
	s->write_error = EIO;
	h_fill(p, 4 * MIB, 2, 0);
	assert_errno(quire_msync(q, p, 4 * MIB, MS_SYNC), EIO);
	s->write_error = 0;
	h_msync_healed(q, p, 4 * MIB, EIO);
	assert_pattern(s->data, 4 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void sync_itself_fails(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);

	h_fill(p, MIB, 2, 0);
	s->sync_error = EIO;
	assert_errno(quire_msync(q, p, MIB, MS_SYNC), EIO);
	s->sync_error = 0;
	h_fill(p, MIB, 3, 0);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_pattern(s->data, MIB, 3, 0);
	assert_ok(quire_close(q));
}

/*
 * A store that takes nothing while the budget fills with dirty pages: reads go
 * on as long as anything clean is left, and nothing dirty is lost.
 */
static void dirty_stays_under_pressure(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	struct h_store *s = h_store_new(2 * MIB, 1), *t = h_store_new(32 * MIB, 5);
	uint8_t *p = h_map_store(q, 2 * MIB, RW, MAP_SHARED, s);
	uint8_t *r = h_map_store(q, 32 * MIB, PROT_READ, MAP_SHARED, t);

	s->write_error = ENOSPC;
	h_fill(p, 2 * MIB, 2, 0);
	assert_pattern(r, 32 * MIB, 5, 0);
	assert_pattern(r, 32 * MIB, 5, 0);
	assert_pattern(p, 2 * MIB, 2, 0);
	assert_pattern(s->data, 2 * MIB, 1, 0);
	assert_errno(quire_msync(q, p, 2 * MIB, MS_SYNC), ENOSPC);
	s->write_error = 0;
	h_msync_healed(q, p, 2 * MIB, ENOSPC);
	assert_pattern(s->data, 2 * MIB, 2, 0);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	assert_ok(quire_close(q));
}

static volatile int calls, call_error;

static enum quire_error_action note(const struct quire_error_info *info, void *arg)
{
	calls++;
	call_error = info->error;
	return QUIRE_ERROR_SIGNAL;
}

/* More dirty pages than the budget, and no way to write them: an error at the
 * page that does not fit, with all of the others kept. */
static void budget_full_of_unwritable_pages(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	struct h_store *s = h_store_new(16 * MIB, 1);
	uint8_t *p = h_map_store(q, 16 * MIB, RW, MAP_SHARED, s);
	size_t at, i;
	int sig = 0;

	h_catch();
	assert_ok(quire_on_error(q, p, 16 * MIB, note, NULL));
	s->write_error = ENOSPC;
	for (at = 0; at < 16 * MIB && !sig; at += PAGE)
		sig = h_write(p + at, 0xd1);
	assert_int_equal(sig, SIGBUS);
	at -= PAGE;
	assert_true(at >= MIB);
	assert_true(call_error == ENOSPC || call_error == ENOMEM);
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	s->write_error = 0;
	h_msync_healed(q, p, 16 * MIB, ENOSPC);
	for (i = 0; i < at; i += PAGE)
		assert_int_equal(s->data[i], 0xd1);
	assert_int_equal(h_write(p + at, 0xd1), 0);
	assert_ok(quire_close(q));
}

static void close_reports_what_was_lost(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);

	h_fill(p, MIB, 2, 0);
	s->write_error = ENOSPC;
	assert_errno(quire_close(q), ENOSPC);
	assert_pattern(s->data, MIB, 1, 0);
}

static void dirty_survives_munmap_and_error(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);

	h_fill(p, MIB, 2, 0);
	s->write_error = EIO;
	assert_ok(quire_munmap(q, p, MIB));
	p = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);
	assert_pattern(p, MIB, 2, 0);
	s->write_error = 0;
	h_msync_healed(q, p, MIB, EIO);
	assert_pattern(s->data, MIB, 2, 0);
	assert_ok(quire_close(q));
}

/* Writers race with msync: what was there before it began is on the device. */
struct writer {
	uint64_t *words;
	_Atomic uint64_t done;
	_Atomic bool stop;
};

static void *writer_run(void *arg)
{
	struct writer *w = arg;
	uint64_t n = 0;

	while (!w->stop) {
		n++;
		((volatile uint64_t *)w->words)[n % 64 * 512] = n;
		w->done = n;
	}
	return NULL;
}

static void sync_against_a_writer(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(64 * PAGE, 1);
	struct writer w = { .words = h_map_store(q, 64 * PAGE, RW, MAP_SHARED, s) };
	pthread_t t;
	int i;

	assert_int_equal(pthread_create(&t, NULL, writer_run, &w), 0);
	for (i = 0; i < 200; i++) {
		uint64_t before = w.done, k, newest = 0;

		assert_ok(quire_msync(q, w.words, 64 * PAGE, MS_SYNC));
		for (k = 0; k < 64; k++) {
			uint64_t v;

			memcpy(&v, s->data + k * PAGE, 8);
			if (v == h_word(1, k * PAGE))
				v = 0;
			if (v > newest)
				newest = v;
		}
		assert_true(newest >= before);
	}
	w.stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_ok(quire_close(q));
	for (i = 0; i < 64; i++) {
		uint64_t v;

		memcpy(&v, s->data + (size_t)i * PAGE, 8);
		assert_true(w.done < 64 || v + 64 > w.done);
	}
}

static void clean_pages_are_not_written(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(4 * MIB, 1);
	uint8_t *p = h_map_store(q, 4 * MIB, RW, MAP_SHARED, s);

	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_int_equal(s->writes, 0);
	p[PAGE] = 3;
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_int_equal(h_stats(q).write_bytes, PAGE);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sync_writes),
		cmocka_unit_test(sync_of_a_range),
		cmocka_unit_test(sync_through_another_view),
		cmocka_unit_test(async_gets_there),
		cmocka_unit_test(invalidate_is_accepted),
		cmocka_unit_test(arguments),
		cmocka_unit_test(fail_then_succeed),
		cmocka_unit_test(full_store_keeps_its_errno),
		cmocka_unit_test(one_bad_page),
		cmocka_unit_test(sync_itself_fails),
		cmocka_unit_test(dirty_stays_under_pressure),
		cmocka_unit_test(budget_full_of_unwritable_pages),
		cmocka_unit_test(close_reports_what_was_lost),
		cmocka_unit_test(dirty_survives_munmap_and_error),
		cmocka_unit_test(sync_against_a_writer),
		cmocka_unit_test(clean_pages_are_not_written),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
