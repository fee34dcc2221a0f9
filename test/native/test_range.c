/* SPDX-License-Identifier: MIT */
/*
 * test_range.c - munmap, mprotect and mremap: parts of mappings, holes between
 * them, splits that merge again.
 */
#include "harness.h"

#define RW (PROT_READ | PROT_WRITE)

static uint64_t mappings(struct quire *q)
{
	return h_stats(q).mappings;
}

/* Dies by SIGSEGV, as memory that is not mapped does. */
static void assert_gone(uint8_t *p)
{
	uint8_t byte;

	assert_int_equal(h_read(p, &byte), SIGSEGV);
}

static void munmap_the_middle(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_catch();
	h_fill(p, MIB, 2, 0);
	assert_ok(quire_munmap(q, p + 100 * PAGE, 10 * PAGE));
	assert_int_equal(mappings(q), 2);
	assert_pattern(p, 100 * PAGE, 2, 0);
	assert_gone(p + 100 * PAGE);
	assert_gone(p + 110 * PAGE - 1);
	assert_pattern(p + 110 * PAGE, MIB - 110 * PAGE, 2, 110 * PAGE);
	/* Parts that are gone already are left alone. */
	assert_ok(quire_munmap(q, p + 90 * PAGE, 30 * PAGE));
	assert_int_equal(mappings(q), 2);
	assert_pattern(p + 120 * PAGE, MIB - 120 * PAGE, 2, 120 * PAGE);
	assert_ok(quire_munmap(q, p, MIB));
	assert_int_equal(mappings(q), 0);
	assert_ok(quire_munmap(q, p, MIB));
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

static void munmap_head_and_tail(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	h_catch();
	assert_ok(quire_munmap(q, p, PAGE));
	assert_ok(quire_munmap(q, p + MIB - PAGE, PAGE));
	assert_int_equal(mappings(q), 1);
	assert_gone(p);
	assert_gone(p + MIB - 1);
	assert_pattern(p + PAGE, MIB - 2 * PAGE, 1, PAGE);
	assert_ok(quire_close(q));
}

static void munmap_across_mappings(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2 = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	h_catch();
	assert_ptr_equal(quire_mmap(q, p + 128 * PAGE, 128 * PAGE, PROT_READ,
				    MAP_SHARED | MAP_FIXED, fd2, 0),
			 p + 128 * PAGE);
	assert_int_equal(mappings(q), 2);
	assert_ok(quire_munmap(q, p + 100 * PAGE, 56 * PAGE));
	assert_pattern(p, 100 * PAGE, 1, 0);
	assert_gone(p + 127 * PAGE);
	assert_gone(p + 128 * PAGE);
	assert_pattern(p + 156 * PAGE, 100 * PAGE, 2, 28 * PAGE);
	assert_ok(quire_close(q));
}

static void munmap_leaves_foreign_memory(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	/* [ours, somebody's, ours] at neighbouring addresses, far from where the next
	 * mapping of anybody would go. */
	uint8_t *hole =
		mmap(NULL, 1024 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *m = hole + 512 * MIB;

	memset(m + MIB, 0x3d, MIB);
	assert_ok(munmap(hole, 513 * MIB));
	assert_ok(munmap(m + 2 * MIB, 510 * MIB));
	assert_ptr_equal(quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), m);
	assert_ptr_equal(quire_mmap(q, m + 2 * MIB, MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0),
			 m + 2 * MIB);
	assert_pattern(m, MIB, 1, 0);
	assert_ok(quire_munmap(q, m, 3 * MIB));
	assert_int_equal(mappings(q), 0);
	assert_all(m + MIB, MIB, 0x3d);
	assert_ok(quire_close(q));
	assert_all(m + MIB, MIB, 0x3d);
}

static void munmap_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_errno(quire_munmap(q, p + 1, PAGE), EINVAL);
	assert_errno(quire_munmap(q, p, 0), EINVAL);
	assert_errno(quire_munmap(q, p, SIZE_MAX - PAGE), EINVAL);
	assert_int_equal(mappings(q), 1);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_munmap(q, p, 100));
	assert_false(quire_contains(q, p, PAGE));
	assert_true(quire_contains(q, p + PAGE, 1));
	assert_ok(quire_close(q));
}

static void the_address_can_be_used_again(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2 = h_file("g", MIB, 2), i;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	for (i = 0; i < 30; i++) {
		assert_pattern(p, MIB, i % 2 ? 2 : 1, 0);
		assert_ok(quire_munmap(q, p, MIB));
		assert_ptr_equal(
			quire_mmap(q, p, MIB, RW, MAP_SHARED | MAP_FIXED, i % 2 ? fd : fd2, 0), p);
	}
	assert_ok(quire_close(q));
}

static void mprotect_splits_and_merges(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), byte;

	h_catch();
	h_fill(p, MIB, 2, 0);
	assert_ok(quire_mprotect(q, p + 10 * PAGE, 10 * PAGE, PROT_READ));
	assert_int_equal(mappings(q), 3);
	assert_int_equal(h_write(p + 10 * PAGE, 0), SIGSEGV);
	assert_int_equal(h_write(p + 20 * PAGE - 1, 0), SIGSEGV);
	assert_int_equal(h_write(p + 10 * PAGE - 1, h_byte(2, 10 * PAGE - 1)), 0);
	assert_int_equal(h_write(p + 20 * PAGE, h_byte(2, 20 * PAGE)), 0);
	assert_pattern(p, MIB, 2, 0);
	assert_ok(quire_mprotect(q, p + 15 * PAGE, 10 * PAGE, PROT_NONE));
	assert_int_equal(mappings(q), 4);
	assert_int_equal(h_read(p + 15 * PAGE, &byte), SIGSEGV);
	assert_int_equal(h_read(p + 25 * PAGE - 1, &byte), SIGSEGV);
	assert_pattern(p, 15 * PAGE, 2, 0);
	assert_ok(quire_mprotect(q, p, MIB, RW));
	assert_int_equal(mappings(q), 1);
	assert_pattern(p, MIB, 2, 0);
	h_fill(p, MIB, 3, 0);
	assert_pattern(p, MIB, 3, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 3, 0);
}

/* Every page its own rights, then one again: what faults after a split. */
static void mprotect_every_other_page(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 256 * PAGE, 1), i;
	uint8_t *p = h_map(q, 256 * PAGE, RW, MAP_SHARED, fd, 0);

	h_catch();
	for (i = 0; i < 256; i += 2)
		assert_ok(quire_mprotect(q, p + (size_t)i * PAGE, PAGE, PROT_READ));
	assert_int_equal(mappings(q), 256);
	assert_pattern(p, 256 * PAGE, 1, 0);
	for (i = 0; i < 256; i++)
		assert_int_equal(h_write(p + (size_t)i * PAGE, 0x10), i % 2 ? 0 : SIGSEGV);
	assert_ok(quire_mprotect(q, p, 256 * PAGE, RW));
	assert_int_equal(mappings(q), 1);
	for (i = 0; i < 256; i++)
		assert_int_equal(h_write(p + (size_t)i * PAGE, 0x20), 0);
	assert_ok(quire_close(q));
}

static void mprotect_keeps_what_is_dirty(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, MIB, 5, 0);
	assert_ok(quire_mprotect(q, p, MIB, PROT_NONE));
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_file_pattern(fd, MIB, 5, 0);
	assert_ok(quire_mprotect(q, p, MIB, PROT_READ));
	assert_pattern(p, MIB, 5, 0);
	assert_ok(quire_close(q));
}

static void mprotect_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ro = open("f", O_RDONLY);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *r = h_map(q, MIB, PROT_READ, MAP_SHARED, ro, 0);
	uint8_t *c = h_map(q, MIB, PROT_READ, MAP_PRIVATE, ro, 0);

	assert_errno(quire_mprotect(q, p + 1, PAGE, PROT_READ), EINVAL);
	assert_errno(quire_mprotect(q, p, PAGE, PROT_EXEC), EINVAL);
	assert_errno(quire_mprotect(q, p, PAGE, 0x4000), EINVAL);
	assert_errno(quire_mprotect(q, r, PAGE, RW), EACCES);
	assert_pattern(r, MIB, 1, 0);
	assert_ok(quire_mprotect(q, r, MIB, PROT_NONE));
	assert_ok(quire_mprotect(q, r, MIB, PROT_READ));
	assert_ok(quire_mprotect(q, c, MIB, RW));
	assert_ok(quire_mprotect(q, p, 0, PROT_READ));
	assert_ok(quire_munmap(q, p + 10 * PAGE, PAGE));
	assert_errno(quire_mprotect(q, p, MIB, PROT_READ), ENOMEM);
	assert_errno(quire_mprotect(q, p + 10 * PAGE, PAGE, PROT_READ), ENOMEM);
	assert_ok(quire_close(q));
}

static void neighbours_merge(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_munmap(q, p + 100 * PAGE, 50 * PAGE));
	assert_int_equal(mappings(q), 2);
	assert_ptr_equal(quire_mmap(q, p + 100 * PAGE, 50 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
				    fd, 100 * PAGE),
			 p + 100 * PAGE);
	assert_int_equal(mappings(q), 1);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void mremap_shrinks(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_catch();
	h_fill(p, MIB, 2, 0);
	assert_ptr_equal(quire_mremap(q, p, MIB, 10 * PAGE, 0, NULL), p);
	assert_pattern(p, 10 * PAGE, 2, 0);
	assert_gone(p + 10 * PAGE);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

static void mremap_grows_and_moves(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 8 * MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), *n;
	size_t len;

	h_catch();
	h_fill(p, MIB, 2, 0);
	for (len = MIB; len < 8 * MIB; len += MIB) {
		n = quire_mremap(q, p, len, len + MIB, MREMAP_MAYMOVE, NULL);
		assert_ptr_not_equal(n, MAP_FAILED);
		if (n != p)
			assert_gone(p);
		assert_pattern(n, MIB, 2, 0);
		assert_pattern(n + MIB, len, 1, MIB);
		n[len + 7] = 0x70;
		n[len + 7] = h_byte(1, len + 7);
		p = n;
	}
	assert_int_equal(mappings(q), 1);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
	assert_file_pattern(fd, 7 * MIB, 1, MIB);
}

static void mremap_to_a_fixed_place(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2 = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *t = h_map(q, MIB, RW, MAP_SHARED, fd2, 0);

	h_catch();
	h_fill(p + MIB / 2, MIB / 2, 3, MIB / 2);
	assert_ptr_equal(quire_mremap(q, p, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, t), t);
	assert_gone(p);
	assert_pattern(t, MIB / 2, 1, 0);
	assert_pattern(t + MIB / 2, MIB / 2, 3, MIB / 2);
	assert_int_equal(mappings(q), 1);
	assert_ok(quire_close(q));
	assert_file_pattern(fd2, MIB, 2, 0);
	assert_file_pattern(fd, MIB / 2, 3, MIB / 2);
}

static void mremap_of_a_part(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), *n;

	h_catch();
	/* Growing from the middle cannot stay in place. */
	n = quire_mremap(q, p + 64 * PAGE, 64 * PAGE, 128 * PAGE, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_ptr_not_equal(n, p + 64 * PAGE);
	assert_pattern(p, 64 * PAGE, 1, 0);
	assert_gone(p + 64 * PAGE);
	assert_gone(p + 128 * PAGE - 1);
	assert_pattern(p + 128 * PAGE, 128 * PAGE, 1, 128 * PAGE);
	assert_pattern(n, 128 * PAGE, 1, 64 * PAGE);
	n[100] = 1;
	assert_ok(quire_close(q));
}

static void mremap_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1), fd2 = h_file("g", MIB, 2), local = 0;
	uint8_t *p = h_map(q, 2 * MIB, RW, MAP_SHARED, fd, 0);

	assert_map_errno(quire_mremap(q, p + 1, MIB, MIB, MREMAP_MAYMOVE, NULL), EINVAL);
	assert_map_errno(quire_mremap(q, p, MIB, 0, MREMAP_MAYMOVE, NULL), EINVAL);
	assert_map_errno(quire_mremap(q, p, MIB, MIB, MREMAP_FIXED, p + 8 * MIB), EINVAL);
	assert_map_errno(quire_mremap(q, p, MIB, MIB, 0x100, NULL), EINVAL);
	assert_map_errno(quire_mremap(q, p, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + 100),
			 EINVAL);
	assert_map_errno(quire_mremap(q, p, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE),
			 EINVAL);
	assert_map_errno(quire_mremap(q, (void *)((uintptr_t)&local & ~(PAGE - 1)), PAGE, PAGE,
				      MREMAP_MAYMOVE, NULL),
			 EFAULT);
	assert_map_errno(quire_mremap(q, p, 4 * MIB, 8 * MIB, MREMAP_MAYMOVE, NULL), EFAULT);
	/* Two mappings of different files, side by side. */
	assert_ptr_equal(quire_mmap(q, p + MIB, MIB, RW, MAP_SHARED | MAP_FIXED, fd2, 0), p + MIB);
	assert_map_errno(quire_mremap(q, p, 2 * MIB, 3 * MIB, MREMAP_MAYMOVE, NULL), EFAULT);
	/* The second is in the way of the first. */
	assert_map_errno(quire_mremap(q, p, MIB, 2 * MIB, 0, NULL), ENOMEM);
	assert_pattern(p, MIB, 1, 0);
	assert_pattern(p + MIB, MIB, 2, 0);
	/* More than there are addresses; more than an address can be. */
	assert_map_errno(quire_mremap(q, p, MIB, (size_t)3 << 45, MREMAP_MAYMOVE, NULL), ENOMEM);
	assert_map_errno(quire_mremap(q, p, MIB, (size_t)1 << 60, MREMAP_MAYMOVE, NULL), EINVAL);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void mremap_of_the_same_size(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_ptr_equal(quire_mremap(q, p, MIB, MIB, 0, NULL), p);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(munmap_the_middle),
		cmocka_unit_test(munmap_head_and_tail),
		cmocka_unit_test(munmap_across_mappings),
		cmocka_unit_test(munmap_leaves_foreign_memory),
		cmocka_unit_test(munmap_arguments),
		cmocka_unit_test(the_address_can_be_used_again),
		cmocka_unit_test(mprotect_splits_and_merges),
		cmocka_unit_test(mprotect_every_other_page),
		cmocka_unit_test(mprotect_keeps_what_is_dirty),
		cmocka_unit_test(mprotect_arguments),
		cmocka_unit_test(neighbours_merge),
		cmocka_unit_test(mremap_shrinks),
		cmocka_unit_test(mremap_grows_and_moves),
		cmocka_unit_test(mremap_to_a_fixed_place),
		cmocka_unit_test(mremap_of_a_part),
		cmocka_unit_test(mremap_arguments),
		cmocka_unit_test(mremap_of_the_same_size),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
