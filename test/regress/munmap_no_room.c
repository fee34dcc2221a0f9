/* SPDX-License-Identifier: MIT */
/* Seen: at vm.max_map_count quire_munmap() of the middle of a mapping was 0, and it was still
 * there, nobody's. Why: nobody looked at what munmap(2) said when it was too late. */
#include "harness.h"

#define RW  (PROT_READ | PROT_WRITE)
#define LEN (8 * PAGE)

static uint8_t *ballast;
static size_t ballast_len;

/* As many mappings as there may be: every second page has other rights. */
static void fill_up(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	size_t most = 0;

	if (!f || fscanf(f, "%zu", &most) != 1 || most > 1u << 18)
		h_skip("vm.max_map_count is %zu", most);
	fclose(f);
	ballast_len = (most + 2) * PAGE;
	ballast = mmap(NULL, ballast_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	assert_ptr_not_equal(ballast, MAP_FAILED);
	for (size_t at = 0; at < ballast_len; at += 2 * PAGE)
		if (mprotect(ballast + at, PAGE, PROT_READ) != 0)
			break;
	/* What is left for one more, at the end of a mapping. */
	while (mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		;
}

static void make_room(void)
{
	assert_ok(munmap(ballast, ballast_len));
}

static bool is_mapped(void *p)
{
	unsigned char vec;

	return mincore(p, PAGE, &vec) == 0;
}

static void the_middle(int flags)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1), got[20], errors[20], i;
	uint8_t *p = h_map(q, LEN, RW, flags, fd, 0), value;

	h_catch();
	h_fill(p + PAGE, 4 * PAGE, 2, PAGE);
	/* Its own structures have been larger: what they need now is there. */
	for (i = 0; i < 16; i++)
		assert_ok(quire_mprotect(q, p + i % 8 * PAGE, PAGE, i < 8 ? PROT_READ : RW));
	fill_up();
	for (i = 0; i < 20; i++) {
		errno = 0;
		if (i % 2)
			got[i] = quire_mprotect(q, p + 3 * PAGE, PAGE, PROT_READ);
		else
			got[i] = quire_munmap(q, p + 3 * PAGE, PAGE);
		errors[i] = errno;
	}
	make_room();
	for (i = 0; i < 20; i++) {
		assert_int_equal(got[i], -1);
		assert_int_equal(errors[i], ENOMEM);
	}
	/* Nothing has changed. */
	assert_true(is_mapped(p + 3 * PAGE));
	assert_pattern(p + PAGE, 4 * PAGE, 2, PAGE);
	p[3 * PAGE] ^= 0xff;
	p[6 * PAGE] = 0x66;
	assert_ok(quire_munmap(q, p + 3 * PAGE, PAGE));
	assert_false(is_mapped(p + 3 * PAGE));
	assert_int_equal(h_read(p + 3 * PAGE, &value), SIGSEGV);
	assert_pattern(p + PAGE, 2 * PAGE, 2, PAGE);
	assert_pattern(p + 4 * PAGE, PAGE, 2, 4 * PAGE);
	assert_int_equal(p[6 * PAGE], 0x66);
	assert_pattern(p + 7 * PAGE, PAGE, 1, 7 * PAGE);
	assert_ok(quire_munmap(q, p, LEN));
	assert_ok(quire_close(q));
}

static void of_a_shared_mapping(void **state)
{
	the_middle(MAP_SHARED);
}

static void of_a_private_mapping(void **state)
{
	the_middle(MAP_PRIVATE);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_a_shared_mapping),
		cmocka_unit_test(of_a_private_mapping),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
