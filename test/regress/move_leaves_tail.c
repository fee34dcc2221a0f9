/* SPDX-License-Identifier: MIT */
/* Seen: after an mremap of a private mapping to a shorter place, its old end was SIGBUS and
 * could not be mapped again. Why: the view was thought to have moved, of which a part had. */
#include "harness.h"

#define RW  (PROT_READ | PROT_WRITE)
#define LEN (8 * PAGE)

static void the_rest_is_free(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1);
	uint8_t *p = h_map(q, LEN, RW, MAP_PRIVATE, fd, 0), value;
	uint8_t *to = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	h_catch();
	assert_ptr_not_equal(to, MAP_FAILED);
	assert_ok(munmap(to, LEN));
	p[PAGE] = 0x11;
	p[6 * PAGE] = 0x66; /* a copy that has no place there */
	assert_ptr_equal(quire_mremap(q, p, LEN, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	assert_int_equal(to[PAGE], 0x11);
	assert_int_equal(h_stats(q).owned, PAGE);
	for (int i = 0; i < 8; i++)
		assert_int_equal(h_read(p + i * PAGE, &value), SIGSEGV);
	assert_ptr_equal(quire_mmap(q, p, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 0), p);
	assert_pattern(p, LEN, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_rest_is_free) };

	return h_main(tests, 1, argc, argv);
}
