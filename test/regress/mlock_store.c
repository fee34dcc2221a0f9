/* SPDX-License-Identifier: MIT */
/* Seen: stores after a refused mlock(2) of a mapping were lost. Why: the mark stays where it
 * fails, and MADV_DONTNEED refuses such a range: pages that were unmapped stayed mapped. */
#include "harness.h"

#include <sys/syscall.h>

#define RW  (PROT_READ | PROT_WRITE)
#define LEN (8 * PAGE)

/* Does the kernel hold the mapping at p for locked? */
static bool is_locked(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	char line[256];
	bool here = false, locked = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			locked = strstr(line, " lo") != NULL;
	}
	fclose(f);
	return locked;
}

static void refused_mlock(void *p)
{
	/* Its pages are missing, and a fault of the kernel's is not ours to serve. (ASan has an
	 * mlock() of its own, that does nothing.) */
	assert_errno(syscall(SYS_mlock, p, LEN), ENOMEM);
	if (!is_locked(p))
		h_skip("mlock of %lu pages leaves no mark here", LEN / PAGE);
}

static void shared_stores_stay(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1);
	uint8_t *p = h_map(q, LEN, RW, MAP_SHARED, fd, 0), byte;

	p[5] = 1;
	refused_mlock(p);
	assert_ok(quire_madvise(q, p, LEN, MADV_DONTNEED)); /* unmapped, so we think */
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));         /* clean */
	p[5] = 2;
	assert_int_equal(h_stats(q).dirty, PAGE);
	assert_ok(quire_madvise(q, p, LEN, MADV_PAGEOUT));
	assert_int_equal(p[5], 2);
	h_file_read(fd, &byte, 1, 5);
	assert_int_equal(byte, 2);
	assert_ok(quire_munmap(q, p, LEN));
	assert_ok(quire_close(q));
}

static void private_pages_go_and_come(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1);
	uint8_t *p = h_map(q, LEN, RW, MAP_PRIVATE, fd, 0), *n;

	assert_int_equal(p[PAGE], h_byte(1, PAGE)); /* the file's page, mapped */
	p[0] = 0x11;
	refused_mlock(p);
	p[PAGE] = 0x22; /* a copy in its place */
	assert_int_equal(p[PAGE], 0x22);
	assert_int_equal(h_stats(q).owned, 2 * PAGE);
	n = quire_mremap(q, p, LEN, 64 * LEN, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_int_equal(n[0], 0x11);
	assert_int_equal(n[PAGE], 0x22);
	assert_ok(quire_madvise(q, n, LEN, MADV_DONTNEED));
	assert_int_equal(h_stats(q).owned, 0);
	assert_pattern(n, LEN, 1, 0); /* the file's again */
	n[0] = 0x33;
	assert_int_equal(n[0], 0x33);
	assert_ok(quire_close(q));
}

/* More than fits, all of it under the mark: reclaim unmaps and drops as ever. */
static void reclaim_goes_on(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1);
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);

	refused_mlock(p + 4 * MIB);
	refused_mlock(p + 12 * MIB);
	assert_pattern(p, 16 * MIB, 1, 0);
	h_fill(p, 16 * MIB, 2, 0);
	assert_pattern(p, 16 * MIB, 2, 0);
	assert_ok(quire_msync(q, p, 16 * MIB, MS_SYNC));
	assert_file_pattern(fd, 16 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_stores_stay),
		cmocka_unit_test(private_pages_go_and_come),
		cmocka_unit_test(reclaim_goes_on),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
