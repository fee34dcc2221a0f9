/* SPDX-License-Identifier: MIT */
/*
 * test_advise.c - madvise and resident: what each advice does to what is in
 * memory, told by quire_resident() and by the counters.
 */
#include "harness.h"

#define RW       (PROT_READ | PROT_WRITE)
#define RESIDENT 1
#define MAPPED   2
#define DIRTY    4

static size_t count(struct quire *q, uint8_t *p, size_t len, int bit)
{
	unsigned char *vec = malloc(len / PAGE);
	size_t i, n = 0;

	assert_ok(quire_resident(q, p, len, vec));
	for (i = 0; i < len / PAGE; i++)
		n += (vec[i] & bit) != 0;
	free(vec);
	return n;
}

static void resident_follows_the_pages(void **state)
{
	struct quire *q = h_open(H_BUDGET, "readahead=0");
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	unsigned char vec[3];

	assert_ok(quire_madvise(q, p, MIB, MADV_RANDOM));
	assert_int_equal(count(q, p, MIB, RESIDENT | MAPPED | DIRTY), 0);
	assert_int_equal(p[10 * PAGE], h_byte(1, 10 * PAGE));
	assert_ok(quire_resident(q, p + 9 * PAGE, 3 * PAGE, vec));
	assert_int_equal(vec[0], 0);
	assert_int_equal(vec[1], RESIDENT | MAPPED);
	assert_int_equal(vec[2], 0);
	p[10 * PAGE] = 1;
	assert_ok(quire_resident(q, p + 10 * PAGE, PAGE, vec));
	assert_int_equal(vec[0], RESIDENT | MAPPED | DIRTY);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_ok(quire_resident(q, p + 10 * PAGE, PAGE, vec));
	assert_int_equal(vec[0] & DIRTY, 0);
	assert_true(vec[0] & RESIDENT);
	/* In another view it is in memory, but not mapped. */
	{
		uint8_t *v = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

		assert_ok(quire_resident(q, v + 10 * PAGE, PAGE, vec));
		assert_int_equal(vec[0], RESIDENT);
	}
	assert_ok(quire_close(q));
}

static void resident_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	unsigned char vec[MIB / PAGE + 8];

	assert_errno(quire_resident(q, p + 1, PAGE, vec), EINVAL);
	assert_errno(quire_resident(q, p, 2 * MIB, vec), ENOMEM);
	assert_ok(quire_munmap(q, p + PAGE, PAGE));
	assert_errno(quire_resident(q, p, 3 * PAGE, vec), ENOMEM);
	/* A length that ends within a page counts the page. */
	memset(vec, 0xee, sizeof(vec));
	assert_ok(quire_resident(q, p + 2 * PAGE, PAGE + 1, vec));
	assert_int_not_equal(vec[1], 0xee);
	assert_int_equal(vec[2], 0xee);
	assert_ok(quire_close(q));
}

static void random_reads_one_page(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(8 * MIB, 1);
	uint8_t *p = h_map_store(q, 8 * MIB, PROT_READ, MAP_SHARED, s);
	size_t i;

	assert_ok(quire_madvise(q, p, 8 * MIB, MADV_RANDOM));
	/* In order, and still one page at a time. */
	for (i = 0; i < 64; i++)
		assert_int_equal(p[i * PAGE], h_byte(1, i * PAGE));
	assert_int_equal(s->read_bytes, 64 * PAGE);
	assert_int_equal(h_stats(q).reads_ahead, 0);
	assert_ok(quire_close(q));
}

static void sequential_reads_ahead(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 8 * MIB, 1);
	uint8_t *p = h_map(q, 8 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_madvise(q, p, 8 * MIB, MADV_SEQUENTIAL));
	assert_pattern(p, 8 * MIB, 1, 0);
	/* Far fewer reads than pages: most came with, or before, their neighbours. */
	assert_true(h_stats(q).reads < 8 * MIB / PAGE / 4);
	assert_int_equal(h_stats(q).read_bytes, 8 * MIB);
	assert_ok(quire_close(q));
}

/* With no hint the pattern is learned, either way. */
static void normal_learns(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 8 * MIB, 1), fd2 = h_file("g", 64 * MIB, 2), i;
	uint8_t *p = h_map(q, 8 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint8_t *r = h_map(q, 64 * MIB, PROT_READ, MAP_SHARED, fd2, 0);
	uint64_t rnd = 7, before;

	assert_pattern(p, 8 * MIB, 1, 0);
	assert_true(h_stats(q).reads < 8 * MIB / PAGE / 4);
	before = h_stats(q).read_bytes;
	for (i = 0; i < 2000; i++) {
		uint64_t at = h_random(&rnd) % (64 * MIB);

		assert_int_equal(r[at], h_byte(2, at));
	}
	assert_true(h_stats(q).read_bytes - before <= 2000 * PAGE * 12 / 10);
	assert_ok(quire_close(q));
}

static void willneed_reads(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * MIB, 1), i;
	uint8_t *p = h_map(q, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_madvise(q, p, 2 * MIB, MADV_WILLNEED));
	/* It does not wait; that it comes is enough. The harness ends a hang. */
	for (i = 0; count(q, p, 2 * MIB, RESIDENT) < 2 * MIB / PAGE; i++)
		h_sleep_ms(1);
	assert_pattern(p, 2 * MIB, 1, 0);
	assert_int_equal(h_stats(q).faults_major, 0);
	assert_ok(quire_close(q));
}

static void willneed_of_more_than_fits(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 64 * MIB, 1);
	uint8_t *p = h_map(q, 64 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_madvise(q, p, 64 * MIB, MADV_WILLNEED));
	assert_pattern(p, 64 * MIB, 1, 0);
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	assert_ok(quire_close(q));
}

static void dontneed_keeps_shared_pages(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint64_t majors;

	h_fill(p, MIB, 2, 0);
	assert_ok(quire_madvise(q, p, MIB, MADV_DONTNEED));
	assert_int_equal(count(q, p, MIB, MAPPED), 0);
	assert_int_equal(count(q, p, MIB, RESIDENT), MIB / PAGE);
	majors = h_stats(q).faults_major;
	assert_pattern(p, MIB, 2, 0);
	assert_int_equal(h_stats(q).faults_major, majors);
	/* It is still known to be dirty. */
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_file_pattern(fd, MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void pageout_lets_go_now(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * MIB, 1);
	uint8_t *p = h_map(q, 2 * MIB, RW, MAP_SHARED, fd, 0);
	uint64_t before;

	h_fill(p, MIB, 2, 0);
	assert_pattern(p + MIB, MIB, 1, MIB);
	before = h_stats(q).cached;
	assert_true(before >= 2 * MIB);
	assert_ok(quire_madvise(q, p, 2 * MIB, MADV_PAGEOUT));
	assert_int_equal(count(q, p, 2 * MIB, RESIDENT), 0);
	assert_true(h_stats(q).cached <= before - 2 * MIB);
	assert_file_pattern(fd, MIB, 2, 0);
	assert_pattern(p, MIB, 2, 0);
	assert_pattern(p + MIB, MIB, 1, MIB);
	assert_ok(quire_close(q));
}

static void cold_goes_first(void **state)
{
	struct quire *q = h_open(8 * MIB, "readahead=0");
	int fd = h_file("f", 32 * MIB, 1);
	uint8_t *p = h_map(q, 32 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	size_t cold, rest;

	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_madvise(q, p, 2 * MIB, MADV_COLD));
	/* Half of the budget comes in anew: what was cold makes the room. */
	assert_pattern(p + 8 * MIB, 4 * MIB, 1, 8 * MIB);
	cold = count(q, p, 2 * MIB, RESIDENT);
	rest = count(q, p + 2 * MIB, 2 * MIB, RESIDENT);
	assert_true(cold <= rest);
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void populate_read_faults_in(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * MIB, 1);
	uint8_t *p = h_map(q, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t faults;

	assert_ok(quire_madvise(q, p, 2 * MIB, MADV_POPULATE_READ));
	assert_int_equal(count(q, p, 2 * MIB, MAPPED), 2 * MIB / PAGE);
	faults = h_stats(q).faults;
	assert_pattern(p, 2 * MIB, 1, 0);
	assert_int_equal(h_stats(q).faults, faults);
	assert_ok(quire_close(q));
}

static void populate_write_makes_dirty(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_ok(quire_madvise(q, p, MIB, MADV_POPULATE_WRITE));
	assert_int_equal(count(q, p, MIB, MAPPED), MIB / PAGE);
	assert_pattern(p, MIB, 1, 0);
	h_fill(p, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

static void populate_fails_where_it_must(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);
	uint8_t *r = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);
	int fd = h_file("f", MIB, 1);
	uint8_t *beyond = h_map(q, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	s->read_error = EIO;
	assert_errno(quire_madvise(q, p, MIB, MADV_POPULATE_READ), EFAULT);
	s->read_error = 0;
	assert_ok(quire_madvise(q, p, MIB, MADV_POPULATE_READ));
	assert_errno(quire_madvise(q, r, MIB, MADV_POPULATE_WRITE), EFAULT);
	assert_errno(quire_madvise(q, beyond, 2 * MIB, MADV_POPULATE_READ), EFAULT);
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	static const int known[] = { MADV_NORMAL, MADV_RANDOM,  MADV_SEQUENTIAL,    MADV_WILLNEED,
				     MADV_COLD,   MADV_PAGEOUT, MADV_POPULATE_READ, MADV_DONTNEED };
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_ok(quire_madvise(q, p, MIB, known[i]));
		assert_ok(quire_madvise(q, p, 0, known[i]));
		assert_errno(quire_madvise(q, p + 1, PAGE, known[i]), EINVAL);
		assert_pattern(p, MIB, 1, 0);
	}
	assert_errno(quire_madvise(q, p, MIB, 9999), EINVAL);
	assert_errno(quire_madvise(q, p, MIB, -1), EINVAL);
	assert_errno(quire_madvise(q, p, MIB, MADV_HWPOISON), EINVAL);
	assert_ok(quire_munmap(q, p + 10 * PAGE, PAGE));
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_errno(quire_madvise(q, p, MIB, known[i]), ENOMEM);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resident_follows_the_pages),
		cmocka_unit_test(resident_arguments),
		cmocka_unit_test(random_reads_one_page),
		cmocka_unit_test(sequential_reads_ahead),
		cmocka_unit_test(normal_learns),
		cmocka_unit_test(willneed_reads),
		cmocka_unit_test(willneed_of_more_than_fits),
		cmocka_unit_test(dontneed_keeps_shared_pages),
		cmocka_unit_test(pageout_lets_go_now),
		cmocka_unit_test(cold_goes_first),
		cmocka_unit_test(populate_read_faults_in),
		cmocka_unit_test(populate_write_makes_dirty),
		cmocka_unit_test(populate_fails_where_it_must),
		cmocka_unit_test(arguments),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
