/* SPDX-License-Identifier: MIT */
/*
 * test_private.c - MAP_PRIVATE: a written page is the process's own, stays
 * resident and charged, and is an error where the budget cannot hold it.
 */
#include "harness.h"

#define RW (PROT_READ | PROT_WRITE)

static void reads_the_file(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1);
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_PRIVATE, fd, 0);

	assert_pattern(p, 16 * MIB, 1, 0);
	assert_int_equal(h_stats(q).owned, 0);
	assert_ok(quire_close(q));
}

static void writes_stay_here(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *a = h_map(q, 4 * MIB, RW, MAP_PRIVATE, fd, 0);
	uint8_t *b = h_map(q, 4 * MIB, RW, MAP_PRIVATE, fd, 0);
	uint8_t *s = h_map(q, 4 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	h_fill(a + MIB, MIB, 2, MIB);
	h_fill(b + MIB, MIB, 3, MIB);
	assert_pattern(a, MIB, 1, 0);
	assert_pattern(a + MIB, MIB, 2, MIB);
	assert_pattern(a + 2 * MIB, 2 * MIB, 1, 2 * MIB);
	assert_pattern(b + MIB, MIB, 3, MIB);
	assert_pattern(s, 4 * MIB, 1, 0);
	assert_int_equal(h_stats(q).owned, 2 * MIB);
	assert_int_equal(h_stats(q).dirty, 0);
	assert_ok(quire_msync(q, a, 4 * MIB, MS_SYNC));
	assert_ok(quire_close(q));
	assert_file_pattern(fd, 4 * MIB, 1, 0);
}

static void first_access_is_a_write(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);

	p[7 * PAGE + 100] = 9;
	assert_pattern(p + 7 * PAGE, 100, 1, 7 * PAGE);
	assert_int_equal(p[7 * PAGE + 100], 9);
	assert_pattern(p + 7 * PAGE + 101, PAGE - 101, 1, 7 * PAGE + 101);
	assert_true(h_stats(q).faults_cow > 0);
	assert_ok(quire_close(q));
}

static void read_only_descriptor_takes_writes(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ro = open("f", O_RDONLY);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, ro, 0);

	memset(p, 0x42, MIB);
	assert_all(p, MIB, 0x42);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 1, 0);
}

static void a_shared_write_is_seen_until_copied(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);
	uint8_t *s = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	p[0] = 1;
	s[1] = 2;
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1], h_byte(1, 1));
	assert_int_equal(s[0], h_byte(1, 0));
	assert_ok(quire_close(q));
}

static void copies_survive_pressure(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 32 * MIB, 1);
	uint8_t *p = h_map(q, 2 * MIB, RW, MAP_PRIVATE, fd, 0);
	uint8_t *s = h_map(q, 32 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	h_fill(p, 2 * MIB, 2, 0);
	assert_pattern(s, 32 * MIB, 1, 0);
	assert_pattern(s, 32 * MIB, 1, 0);
	assert_pattern(p, 2 * MIB, 2, 0);
	assert_int_equal(h_stats(q).owned, 2 * MIB);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	assert_ok(quire_close(q));
}

static volatile int calls, call_error, call_write;
static void *volatile call_addr;

static enum quire_error_action note(const struct quire_error_info *info, void *arg)
{
	calls++;
	call_error = info->error;
	call_write = info->write;
	call_addr = info->addr;
	return QUIRE_ERROR_SIGNAL;
}

static void overflow_is_enomem_at_that_page(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), sig = 0;
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_PRIVATE, fd, 0);
	size_t at;

	h_catch();
	assert_ok(quire_on_error(q, p, 16 * MIB, note, NULL));
	for (at = 0; at < 16 * MIB && !sig; at += PAGE)
		sig = h_write(p + at + 8, 0x5c);
	at -= PAGE;
	assert_int_equal(sig, SIGBUS);
	assert_int_equal(calls, 1);
	assert_int_equal(call_error, ENOMEM);
	assert_int_equal(call_write, 1);
	assert_ptr_equal(call_addr, p + at + 8);
	assert_ptr_equal(h_fault_addr, p + at + 8);
	/* Most of the budget could be used, and none of it is lost. */
	assert_true(at >= 2 * MIB);
	assert_true(at < 4 * MIB);
	{
		size_t i;

		for (i = 0; i < at; i += PAGE) {
			assert_int_equal(p[i + 8], 0x5c);
			assert_int_equal(p[i + 9], h_byte(1, i + 9));
		}
	}
	/* That page and the rest still read as the file. */
	assert_pattern(p + at, 16 * MIB - at, 1, at);
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	/* Room is made: the same write now works. */
	assert_ok(quire_madvise(q, p, MIB, MADV_DONTNEED));
	assert_int_equal(h_write(p + at + 8, 0x5d), 0);
	assert_int_equal(p[at + 8], 0x5d);
	assert_ok(quire_close(q));
}

static void overflow_without_callback_is_sigbus(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), sig = 0;
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_PRIVATE, fd, 0);
	size_t at;

	h_catch();
	for (at = 0; at < 16 * MIB && !sig; at += PAGE)
		sig = h_write(p + at, 0x5c);
	assert_int_equal(sig, SIGBUS);
	assert_ok(quire_set_memory(q, 32 * MIB));
	for (at = 0; at < 16 * MIB; at += PAGE)
		assert_int_equal(h_write(p + at, 0x5c), 0);
	assert_int_equal(h_stats(q).owned, 16 * MIB);
	/* They do not go away to make room. */
	assert_errno(quire_set_memory(q, 8 * MIB), EBUSY);
	assert_int_equal(h_stats(q).memory, 32 * MIB);
	assert_ok(quire_munmap(q, p, 12 * MIB));
	assert_ok(quire_set_memory(q, 8 * MIB));
	for (at = 12 * MIB; at < 16 * MIB; at += PAGE)
		assert_int_equal(p[at], 0x5c);
	assert_ok(quire_close(q));
}

static void dontneed_forgets(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);

	memset(p, 0x11, MIB);
	assert_int_equal(h_stats(q).owned, MIB);
	assert_ok(quire_madvise(q, p + 256 * KIB, 256 * KIB, MADV_DONTNEED));
	assert_int_equal(h_stats(q).owned, 768 * KIB);
	assert_all(p, 256 * KIB, 0x11);
	assert_pattern(p + 256 * KIB, 256 * KIB, 1, 256 * KIB);
	assert_all(p + 512 * KIB, 512 * KIB, 0x11);
	assert_ok(quire_close(q));
}

static void munmap_frees(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 4 * MIB, 1), i;

	for (i = 0; i < 20; i++) {
		uint8_t *p = h_map(q, 4 * MIB, RW, MAP_PRIVATE, fd, 0);

		memset(p, i, 4 * MIB);
		assert_all(p, 4 * MIB, i);
		assert_ok(quire_munmap(q, p, 2 * MIB));
		assert_int_equal(h_stats(q).owned, 2 * MIB);
		assert_ok(quire_munmap(q, p + 2 * MIB, 2 * MIB));
		assert_int_equal(h_stats(q).owned, 0);
	}
	assert_ok(quire_close(q));
}

static void protection_changes_keep_the_copy(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0), byte;

	h_catch();
	memset(p, 0x21, MIB / 2);
	assert_ok(quire_mprotect(q, p, MIB, PROT_READ));
	assert_all(p, MIB / 2, 0x21);
	assert_int_equal(h_write(p, 1), SIGSEGV);
	assert_ok(quire_mprotect(q, p, MIB, PROT_NONE));
	assert_int_equal(h_read(p, &byte), SIGSEGV);
	assert_ok(quire_mprotect(q, p, MIB, RW));
	assert_all(p, MIB / 2, 0x21);
	assert_pattern(p + MIB / 2, MIB / 2, 1, MIB / 2);
	memset(p + MIB / 2, 0x22, MIB / 2);
	assert_all(p + MIB / 2, MIB / 2, 0x22);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 1, 0);
}

static void read_only_then_writable(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_PRIVATE, fd, 0);

	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_mprotect(q, p, MIB, RW));
	memset(p + 3 * PAGE, 0x33, 2 * PAGE);
	assert_pattern(p, 3 * PAGE, 1, 0);
	assert_all(p + 3 * PAGE, 2 * PAGE, 0x33);
	assert_pattern(p + 5 * PAGE, MIB - 5 * PAGE, 1, 5 * PAGE);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 1, 0);
}

static void mremap_carries_the_copies(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0), *n;

	memset(p + PAGE, 0x44, PAGE);
	n = quire_mremap(q, p, MIB, 3 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_pattern(n, PAGE, 1, 0);
	assert_all(n + PAGE, PAGE, 0x44);
	assert_pattern(n + 2 * PAGE, 3 * MIB - 2 * PAGE, 1, 2 * PAGE);
	assert_int_equal(h_stats(q).owned, PAGE);
	assert_ok(quire_close(q));
}

/*
 * The kernel drops the registration of all that a moved mapping merges with: what
 * is beside it must not read as zero, whatever the rights were at that moment.
 */
static void mremap_of_an_inaccessible_view(void **state)
{
	struct quire *q = h_open(H_BUDGET, "readahead=0");
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0), *n;

	memset(p, 0x44, PAGE);
	assert_ok(quire_mprotect(q, p, MIB, PROT_NONE));
	n = quire_mremap(q, p, MIB, 3 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_ok(quire_mprotect(q, n, 3 * MIB, RW));
	assert_all(n, PAGE, 0x44);
	assert_pattern(n + PAGE, 3 * MIB - PAGE, 1, PAGE);
	assert_ok(quire_close(q));
}

static void populate_write_makes_copies(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);

	assert_ok(quire_madvise(q, p, MIB, MADV_POPULATE_WRITE));
	assert_pattern(p, MIB, 1, 0);
	assert_int_equal(h_stats(q).owned, MIB);
	assert_ok(quire_close(q));
}

static void populate_write_beyond_the_budget(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1);
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_PRIVATE, fd, 0);

	assert_errno(quire_madvise(q, p, 16 * MIB, MADV_POPULATE_WRITE), ENOMEM);
	assert_pattern(p, 16 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void tail_of_the_file_is_zero_and_own(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", PAGE + 100, 1);
	uint8_t *p = h_map(q, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);

	assert_all(p + PAGE + 100, PAGE - 100, 0);
	memset(p + PAGE, 0x66, PAGE);
	assert_all(p + PAGE, PAGE, 0x66);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, PAGE + 100, 1, 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), PAGE + 100);
}

static void copies_under_many_budgets(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 3 * MIB, 1), i;
	uint8_t *p = h_map(q, 3 * MIB, RW, MAP_PRIVATE, fd, 0);

	h_fill(p, 3 * MIB, 9, 0);
	for (i = 0; i < 20; i++) {
		assert_ok(quire_set_memory(q, (i % 2 ? 5 : 32) * MIB));
		assert_pattern(p, 3 * MIB, 9, 0);
	}
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_file),
		cmocka_unit_test(writes_stay_here),
		cmocka_unit_test(first_access_is_a_write),
		cmocka_unit_test(read_only_descriptor_takes_writes),
		cmocka_unit_test(a_shared_write_is_seen_until_copied),
		cmocka_unit_test(copies_survive_pressure),
		cmocka_unit_test(overflow_is_enomem_at_that_page),
		cmocka_unit_test(overflow_without_callback_is_sigbus),
		cmocka_unit_test(dontneed_forgets),
		cmocka_unit_test(munmap_frees),
		cmocka_unit_test(protection_changes_keep_the_copy),
		cmocka_unit_test(read_only_then_writable),
		cmocka_unit_test(mremap_carries_the_copies),
		cmocka_unit_test(mremap_of_an_inaccessible_view),
		cmocka_unit_test(populate_write_makes_copies),
		cmocka_unit_test(populate_write_beyond_the_budget),
		cmocka_unit_test(tail_of_the_file_is_zero_and_own),
		cmocka_unit_test(copies_under_many_budgets),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
