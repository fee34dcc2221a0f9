/* SPDX-License-Identifier: MIT */
/* Seen: a store to a private page that was pinned when mremap moved it was gone later. Why:
 * the pinned page moved along, without its write protection: the kernel made the copy. */
#include "harness.h"

#define RW (PROT_READ | PROT_WRITE)

static void the_store_after_the_move_stays(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 8 * PAGE, 1);
	uint8_t *p = h_map(q, 8 * PAGE, RW, MAP_PRIVATE, fd, 0);
	uint8_t *to = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(to, MAP_FAILED);
	assert_ok(munmap(to, 8 * PAGE));
	p[3 * PAGE] = 0x33; /* a copy: that is to move */
	assert_ok(quire_pin(q, p + PAGE, PAGE, 0));
	assert_ptr_equal(quire_mremap(q, p, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to),
			 to);
	memset(to + PAGE, 0x55, 64);
	assert_int_equal(to[2 * PAGE], h_byte(1, 2 * PAGE)); /* maps what is around it */
	assert_int_equal(h_stats(q).owned, 2 * PAGE);
	assert_ok(quire_madvise(q, to, 8 * PAGE, MADV_PAGEOUT));
	assert_int_equal(to[PAGE], 0x55);
	assert_int_equal(to[3 * PAGE], 0x33);
	/* The pin went with the page. */
	assert_int_equal(h_stats(q).pinned, 0);
	quire_unpin(q, p + PAGE, PAGE);
	quire_unpin(q, to + PAGE, PAGE);
	assert_file_pattern(fd, 8 * PAGE, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_store_after_the_move_stays) };

	return h_main(tests, 1, argc, argv);
}
