/* SPDX-License-Identifier: MIT */
/*
 * test_move.c - quire_move(): the pages arrive, are gone where they were, and nothing is
 * half done when it fails.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define HOLE QUIRE_MOVE_ALLOW_HOLES

static struct quire *open_swap(uint64_t memory, uint64_t swap)
{
	char opts[64];

	snprintf(opts, sizeof(opts), "swap=swap,swap_size=%luM", (unsigned long)(swap / MIB));
	return h_open(memory, opts);
}

static uint8_t *map_anon(struct quire *q, size_t len)
{
	return h_map(q, len, RW, ANON, -1, 0);
}

/* len bytes whose 2 MiB boundaries are where those of every other one are. */
static uint8_t *map_aligned(struct quire *q, size_t len)
{
	uint8_t *p = map_anon(q, len + 2 * MIB);
	size_t skip = (2 * MIB - (uintptr_t)p % (2 * MIB)) % (2 * MIB);

	if (skip)
		assert_ok(quire_munmap(q, p, skip));
	if (skip < 2 * MIB)
		assert_ok(quire_munmap(q, p + skip + len, 2 * MIB - skip));
	return p + skip;
}

static unsigned char bits_of(struct quire *q, void *p)
{
	unsigned char vec;

	assert_ok(quire_resident(q, p, PAGE, &vec));
	return vec;
}

/* Out of the view; to the store, if it is more than one word over and over. */
static void page_out(struct quire *q, uint8_t *p, size_t len)
{
	assert_ok(quire_madvise(q, p, len, MADV_PAGEOUT));
	while (h_stats(q).writeback > 0)
		h_sleep_ms(5);
	for (size_t at = 0; at < len; at += PAGE)
		assert_int_equal(bits_of(q, p + at) & 2, 0);
}

static void move_all(struct quire *q, void *dst, void *src, size_t len, int flags)
{
	size_t moved = 1;

	assert_ok(quire_move(q, dst, src, len, flags, &moved));
	assert_int_equal(moved, len);
}

/* Fails with that errno, after `done` bytes. */
#define assert_move_errno(q, dst, src, len, flags, want, done)                                     \
	do {                                                                                       \
		size_t moved__ = 12345;                                                            \
		assert_errno(quire_move((q), (dst), (src), (len), (flags), &moved__), (want));     \
		assert_int_equal(moved__, (done));                                                 \
	} while (0)

/* ---- runs ---- */

enum where { MAPPED, SWAPPED, CLEAN, SAME };

/* `pages` of the pattern at p, in that state. */
static void prepare(struct quire *q, uint8_t *p, size_t len, enum where where)
{
	if (where == SAME)
		memset(p, 0x5a, len);
	else
		h_fill(p, len, 1, 0);
	if (where != MAPPED)
		page_out(q, p, len);
	if (where == CLEAN)
		assert_pattern(p, len, 1, 0);
}

static void check(uint8_t *p, size_t len, enum where where)
{
	if (where == SAME)
		assert_all(p, len, 0x5a);
	else
		assert_pattern(p, len, 1, 0);
}

static void runs(enum where where)
{
	static const size_t pages[] = { 1, 2, 3, 16, 33, 34, 35, 64, 511, 512, 513, 1300 };
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *a = map_aligned(q, 8 * MIB), *b = map_aligned(q, 8 * MIB);

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		size_t len = pages[i] * PAGE, from = i % 3 * 5 * PAGE, to = i % 2 * 11 * PAGE;
		uint64_t before;

		memset(b + to + len, 0x77, PAGE);
		prepare(q, a + from, len, where);
		before = h_stats(q).moved_pages;
		move_all(q, b + to, a + from, len, 0);
		assert_int_equal(h_stats(q).moved_pages, before + pages[i]);
		check(b + to, len, where);
		assert_all(a + from, len, 0);
		assert_all(b + to + len, PAGE, 0x77);
		/* It is a page like any other: stored to, swapped, and moved back. */
		b[to] ^= 0xff;
		page_out(q, b + to, len);
		assert_ok(quire_madvise(q, a, 8 * MIB, MADV_DONTNEED));
		move_all(q, a + from, b + to, len, 0);
		a[from] ^= 0xff;
		check(a + from, len, where);
		assert_ok(quire_madvise(q, a, 8 * MIB, MADV_DONTNEED));
		assert_ok(quire_madvise(q, b, 8 * MIB, MADV_DONTNEED));
		assert_becomes(h_stats(q).anon, 0);
		assert_becomes(h_stats(q).swap_used, 0);
	}
	assert_ok(quire_close(q));
}

static void runs_of_mapped_pages(void **state)
{
	runs(MAPPED);
}

static void runs_of_swapped_pages(void **state)
{
	runs(SWAPPED);
}

static void runs_of_clean_pages(void **state)
{
	runs(CLEAN);
}

static void runs_of_one_word(void **state)
{
	runs(SAME);
}

/* Swapped pages come along unread, to where they were not. */
static void swapped_pages_are_not_read(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *a = map_anon(q, 4 * MIB), *b = map_anon(q, 4 * MIB);

	h_fill(a, 4 * MIB, 1, 0);
	page_out(q, a, 4 * MIB);
	move_all(q, b, a, 4 * MIB, 0);
	assert_int_equal(h_stats(q).swap_reads, 0);
	assert_becomes(h_stats(q).anon, 0);
	assert_becomes(h_stats(q).swap_used, 4 * MIB);
	assert_pattern(b, 4 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* Mapped, clean, swapped, one word and nothing, by turns; under memory pressure also idle
 * and under write-back. */
static void all_kinds_mixed(void **state)
{
	struct quire *q = open_swap(4 * MIB, 64 * MIB);
	size_t len = 6 * MIB, at;
	uint8_t *a = map_aligned(q, len), *b = map_aligned(q, len), *filler = map_anon(q, 4 * MIB);
	int round;

	for (round = 0; round < 6; round++) {
		for (at = 0; at < len; at += PAGE) {
			if (at / PAGE % 5 == 3)
				continue;
			if (at / PAGE % 5 == 4)
				memset(a + at, 0x33, PAGE);
			else
				h_fill(a + at, PAGE, 1, at);
		}
		if (round % 2)
			h_fill(filler, 4 * MIB, 2, 0);
		move_all(q, b, a, len, HOLE);
		assert_all(a, len, 0);
		for (at = 0; at < len; at += PAGE) {
			if (at / PAGE % 5 >= 3)
				assert_all(b + at, PAGE, at / PAGE % 5 == 3 ? 0 : 0x33);
			else
				assert_pattern(b + at, PAGE, 1, at);
		}
		assert_ok(quire_madvise(q, a, len, MADV_DONTNEED));
		assert_ok(quire_madvise(q, b, len, MADV_DONTNEED));
	}
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	assert_ok(quire_close(q));
}

/* ---- tables and VMAs ---- */

static void over_table_boundaries(void **state)
{
	static const size_t off[] = { 0, PAGE, 255 * PAGE, 511 * PAGE };
	struct quire *q = open_swap(32 * MIB, 32 * MIB);
	uint8_t *a = map_aligned(q, 8 * MIB), *b = map_aligned(q, 8 * MIB);

	for (int i = 0; i < 4; i++) {
		for (int j = 0; j < 4; j++) {
			size_t len = 2 * MIB + 3 * PAGE;

			h_fill(a + off[i], len, 1, 0);
			move_all(q, b + off[j], a + off[i], len, 0);
			assert_pattern(b + off[j], len, 1, 0);
			assert_all(a + off[i], len, 0);
			assert_ok(quire_madvise(q, a, 8 * MIB, MADV_DONTNEED));
			assert_ok(quire_madvise(q, b, 8 * MIB, MADV_DONTNEED));
		}
	}
	assert_ok(quire_close(q));
}

static void within_one_mapping(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 8 * MIB);

	h_fill(p, MIB, 1, 0);
	move_all(q, p + 3 * MIB, p, MIB, 0);
	assert_all(p, MIB, 0);
	assert_pattern(p + 3 * MIB, MIB, 1, 0);
	/* Next to itself; what was at src has been read, and is a page of zeros. */
	assert_ok(quire_madvise(q, p, 3 * MIB, MADV_DONTNEED));
	move_all(q, p + 2 * MIB, p + 3 * MIB, MIB, 0);
	assert_pattern(p + 2 * MIB, MIB, 1, 0);
	assert_all(p + 3 * MIB, MIB, 0);
	assert_ok(quire_close(q));
}

/* VMAs that were split and merged name the pages that are theirs. */
static void after_splits_and_merges(void **state)
{
	struct quire *q = open_swap(4 * MIB, 64 * MIB);
	uint8_t *a = map_aligned(q, 8 * MIB), *b = map_aligned(q, 8 * MIB);

	h_fill(a, 8 * MIB, 1, 0);
	assert_ok(quire_mprotect(q, a + 3 * MIB, MIB, PROT_READ));
	assert_ok(quire_munmap(q, a + 6 * MIB, MIB));
	/* A range over more than one mapping is none of ours. */
	assert_move_errno(q, b, a + 2 * MIB, 2 * MIB, 0, EINVAL, 0);
	move_all(q, b, a, 3 * MIB, 0);
	move_all(q, b + 4 * MIB, a + 4 * MIB, 2 * MIB, 0);
	move_all(q, b + 7 * MIB, a + 7 * MIB, MIB, 0);
	assert_ok(quire_mprotect(q, a + 3 * MIB, MIB, RW));
	move_all(q, b + 3 * MIB, a + 3 * MIB, MIB, 0);
	assert_ok(quire_mprotect(q, b + 2 * MIB, 2 * MIB, PROT_READ));
	assert_pattern(b, 6 * MIB, 1, 0);
	assert_all(b + 6 * MIB, MIB, 0);
	assert_pattern(b + 7 * MIB, MIB, 1, 7 * MIB);
	assert_all(a, 6 * MIB, 0);
	assert_ok(quire_mprotect(q, b, 8 * MIB, RW));
	h_fill(b, 8 * MIB, 2, 0);
	assert_pattern(b, 8 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void then_mremap_and_munmap(void **state)
{
	struct quire *q = open_swap(4 * MIB, 64 * MIB);
	uint8_t *a = map_anon(q, 4 * MIB), *b = map_anon(q, 4 * MIB), *n;

	h_fill(a, 4 * MIB, 1, 0);
	move_all(q, b, a, 4 * MIB, 0);
	n = quire_mremap(q, b, 4 * MIB, 12 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_ok(quire_munmap(q, a, 4 * MIB));
	assert_pattern(n, 4 * MIB, 1, 0);
	assert_all(n + 4 * MIB, 8 * MIB, 0);
	a = map_anon(q, 4 * MIB);
	move_all(q, a, n, 4 * MIB, 0);
	assert_ok(quire_munmap(q, n, 12 * MIB));
	assert_pattern(a, 4 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* ---- errors: nothing half done ---- */

static void holes(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *a = map_aligned(q, 4 * MIB), *b = map_aligned(q, 4 * MIB);

	/* Where there is no page at all, and no table. */
	assert_move_errno(q, b, a, MIB, 0, ENOENT, 0);
	move_all(q, b, a, MIB, HOLE);
	assert_ok(quire_madvise(q, a, 4 * MIB, MADV_RANDOM));
	h_fill(a, 10 * PAGE, 1, 0);
	h_fill(a + 12 * PAGE, 4 * PAGE, 1, 12 * PAGE);
	assert_move_errno(q, b, a, 16 * PAGE, 0, ENOENT, 10 * PAGE);
	assert_pattern(b, 10 * PAGE, 1, 0);
	assert_pattern(a + 12 * PAGE, 4 * PAGE, 1, 12 * PAGE);
	move_all(q, b + 10 * PAGE, a + 10 * PAGE, 6 * PAGE, HOLE);
	assert_pattern(b + 12 * PAGE, 4 * PAGE, 1, 12 * PAGE);
	assert_all(b + 10 * PAGE, 2 * PAGE, 0);
	assert_all(a, 16 * PAGE, 0);
	assert_ok(quire_close(q));
}

static void destination_is_not_empty(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *a = map_anon(q, MIB), *b = map_anon(q, MIB);

	assert_ok(quire_madvise(q, b, MIB, MADV_RANDOM));
	h_fill(a, MIB, 1, 0);
	b[20 * PAGE] = 9;
	assert_move_errno(q, b, a, MIB, 0, EEXIST, 20 * PAGE);
	assert_pattern(b, 20 * PAGE, 1, 0);
	assert_int_equal(b[20 * PAGE], 9);
	assert_all(a, 20 * PAGE, 0);
	assert_pattern(a + 20 * PAGE, MIB - 20 * PAGE, 1, 20 * PAGE);
	/* Also when what is there is in the store, or has only been read. */
	page_out(q, b, 21 * PAGE);
	assert_move_errno(q, b + 20 * PAGE, a + 20 * PAGE, PAGE, 0, EEXIST, 0);
	assert_int_equal(b[30 * PAGE], 0);
	assert_move_errno(q, b + 30 * PAGE, a + 30 * PAGE, PAGE, HOLE, EEXIST, 0);
	assert_ok(quire_madvise(q, b + 20 * PAGE, 11 * PAGE, MADV_DONTNEED));
	move_all(q, b + 20 * PAGE, a + 20 * PAGE, MIB - 20 * PAGE, 0);
	assert_pattern(b, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void pinned_pages_stay(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *a = map_anon(q, MIB), *b = map_anon(q, MIB);

	h_fill(a, MIB, 1, 0);
	assert_ok(quire_pin(q, a + 16 * PAGE, PAGE, 0));
	assert_move_errno(q, b, a, MIB, 0, EBUSY, 16 * PAGE);
	assert_pattern(b, 16 * PAGE, 1, 0);
	assert_pattern(a + 16 * PAGE, MIB - 16 * PAGE, 1, 16 * PAGE);
	quire_unpin(q, a + 16 * PAGE, PAGE);
	move_all(q, b + 16 * PAGE, a + 16 * PAGE, MIB - 16 * PAGE, 0);
	assert_pattern(b, MIB, 1, 0);
	assert_int_equal(h_stats(q).pinned, 0);
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	int fd = h_file("f", MIB, 3);
	uint8_t *a = map_anon(q, MIB), *b = map_anon(q, MIB);
	uint8_t *f = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *c = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);
	uint8_t *r = h_map(q, MIB, PROT_READ, ANON, -1, 0);
	uint8_t *foreign = mmap(NULL, MIB, RW, ANON, -1, 0);

	h_fill(a, MIB, 1, 0);
	c[0] = 1;
	assert_move_errno(q, b + 1, a, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, b, a + 1, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, b, a, PAGE + 1, 0, EINVAL, 0);
	assert_move_errno(q, b, a, 0, 0, EINVAL, 0);
	assert_move_errno(q, b, a, PAGE, 2, EINVAL, 0);
	assert_move_errno(q, b, a, SIZE_MAX & ~(PAGE - 1), 0, ENOMEM, 0);
	/* Overlap, both ways, and onto itself. */
	assert_move_errno(q, a + PAGE, a, 2 * PAGE, 0, EEXIST, 0);
	assert_move_errno(q, a, a, PAGE, 0, EEXIST, 0);
	/* Not anonymous, not writable, not ours. */
	assert_move_errno(q, f, a, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, b, f, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, b, c, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, r, a, PAGE, 0, EINVAL, 0);
	assert_move_errno(q, b, r, PAGE, HOLE, EINVAL, 0);
	assert_move_errno(q, foreign, a, PAGE, 0, ENOENT, 0);
	assert_move_errno(q, b, foreign, PAGE, 0, ENOENT, 0);
	/* The count is not asked for. */
	assert_ok(quire_move(q, b, a, PAGE, 0, NULL));
	assert_errno(quire_move(q, b, a, PAGE, 0, NULL), EEXIST);
	assert_pattern(b, PAGE, 1, 0);
	assert_pattern(a + PAGE, MIB - PAGE, 1, PAGE);
	assert_pattern(f, MIB, 3, 0);
	munmap(foreign, MIB);
	assert_ok(quire_close(q));
}

/* As the kernel has it: forward, what was not moved yet is in the way; backward all is free
 * when its turn comes. */
static void overlap(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, MIB);

	assert_ok(quire_madvise(q, p, MIB, MADV_RANDOM));
	h_fill(p + 4 * PAGE, 4 * PAGE, 1, 0);
	assert_move_errno(q, p + 6 * PAGE, p + 4 * PAGE, 4 * PAGE, 0, EEXIST, 0);
	assert_pattern(p + 4 * PAGE, 4 * PAGE, 1, 0);
	move_all(q, p + 2 * PAGE, p + 4 * PAGE, 4 * PAGE, 0);
	assert_pattern(p + 2 * PAGE, 4 * PAGE, 1, 0);
	assert_all(p + 6 * PAGE, 2 * PAGE, 0);
	assert_ok(quire_close(q));
}

/* ---- with others at it ---- */

struct race {
	struct quire *q;
	uint8_t *a, *b;
	atomic_bool stop;
	atomic_ulong seen;
};

#define RACE_PAGES 256

/* Each page is where it was, where it goes, or for a moment nowhere; never another's. */
static void *reader(void *arg)
{
	struct race *r = arg;
	uint64_t state = 77;

	while (!r->stop) {
		size_t page = h_random(&state) % RACE_PAGES, off = page * PAGE + 8 * (page % 512);
		uint64_t here = *(volatile uint64_t *)(r->a + off);

		CHECK(here == 0 || here == h_word(5, off));
		r->seen += here != 0;
	}
	return NULL;
}

static void readers_see_all_or_zeros(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	struct race r = { .q = q, .a = map_anon(q, MIB), .b = map_anon(q, MIB) };
	uint8_t *filler = map_anon(q, 4 * MIB);
	pthread_t t[2];
	int i, moves = 0;

	h_fill(r.b, MIB, 5, 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, &r), 0);
	for (i = 0; i < 200; i++) {
		for (size_t page = 0; page < RACE_PAGES; page++) {
			size_t moved;

			/* A reader's page of zeros is in the way, now and then. */
			while (quire_move(q, r.a + page * PAGE, r.b + page * PAGE, PAGE, 0,
					  &moved) != 0) {
				assert_int_equal(errno, EEXIST);
				assert_ok(quire_madvise(q, r.a + page * PAGE, PAGE, MADV_DONTNEED));
			}
			moves++;
		}
		assert_ok(quire_madvise(q, r.b, MIB, MADV_DONTNEED));
		if (i % 16 == 0)
			h_fill(filler, 4 * MIB, 6, 0);
		move_all(q, r.b, r.a, MIB, 0);
	}
	r.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_pattern(r.b, MIB, 5, 0);
	assert_true(r.seen > 0);
	assert_ok(quire_close(q));
}

struct opposite {
	struct quire *q;
	uint8_t *from, *to;
};

/* Moves whatever it finds at from to to, until both have had their turns. */
static void *mover(void *arg)
{
	struct opposite *o = arg;

	for (int i = 0; i < 3000; i++) {
		size_t page = (size_t)(i * 7 % 64), moved;
		int r = quire_move(o->q, o->to + page * PAGE, o->from + page * PAGE, 4 * PAGE, HOLE,
				   &moved);

		CHECK(r == 0 || errno == EEXIST);
	}
	return NULL;
}

/* Two that move in opposite directions neither wait for each other nor lose a page. */
static void opposite_moves(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *a = map_anon(q, 68 * PAGE), *b = map_anon(q, 68 * PAGE);
	struct opposite there = { q, a, b }, back = { q, b, a };
	bool at_a[68];
	pthread_t t;

	h_fill(a, 68 * PAGE, 1, 0);
	assert_int_equal(pthread_create(&t, NULL, mover, &there), 0);
	mover(&back);
	pthread_join(t, NULL);
	assert_becomes(h_stats(q).anon + h_stats(q).swap_used, 68 * PAGE);
	/* To look is to touch, and neighbours come along: ask where they all are before. */
	for (size_t page = 0; page < 68; page++)
		at_a[page] = bits_of(q, a + page * PAGE) & 1;
	for (size_t page = 0; page < 68; page++) {
		uint8_t *p = at_a[page] ? a : b, *other = at_a[page] ? b : a;

		assert_pattern(p + page * PAGE, PAGE, 1, page * PAGE);
		assert_all(other + page * PAGE, PAGE, 0);
	}
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_of_mapped_pages),
		cmocka_unit_test(runs_of_swapped_pages),
		cmocka_unit_test(runs_of_clean_pages),
		cmocka_unit_test(runs_of_one_word),
		cmocka_unit_test(swapped_pages_are_not_read),
		cmocka_unit_test(all_kinds_mixed),
		cmocka_unit_test(over_table_boundaries),
		cmocka_unit_test(within_one_mapping),
		cmocka_unit_test(after_splits_and_merges),
		cmocka_unit_test(then_mremap_and_munmap),
		cmocka_unit_test(holes),
		cmocka_unit_test(destination_is_not_empty),
		cmocka_unit_test(pinned_pages_stay),
		cmocka_unit_test(arguments),
		cmocka_unit_test(overlap),
		cmocka_unit_test(readers_see_all_or_zeros),
		cmocka_unit_test(opposite_moves),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
