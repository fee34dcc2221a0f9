/* SPDX-License-Identifier: MIT */
/* Seen: quire_preadv() read old bytes when newer ones could not be written, and msync was 0.
 * Why: it went on after the failed write-back, and took the error that msync owes. */
#include "harness.h"

#include <sys/resource.h>

#define RW (PROT_READ | PROT_WRITE)

static void preadv_says_so_and_msync_too(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[PAGE];
	struct iovec v = { buf, sizeof(buf) };
	struct rlimit old, small;

	signal(SIGXFSZ, SIG_IGN);
	assert_ok(getrlimit(RLIMIT_FSIZE, &old));
	small = old;
	small.rlim_cur = 64 * KIB; /* no write beyond: EFBIG */
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	h_fill(p + MIB / 2, PAGE, 2, MIB / 2);
	assert_errno(quire_preadv(q, fd, &v, 1, MIB / 2), EFBIG);
	assert_ok(setrlimit(RLIMIT_FSIZE, &old));
	/* It was not preadv's to take: msync reports it once, then all is well. */
	assert_errno(quire_msync(q, p, MIB, MS_SYNC), EFBIG);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_int_equal(quire_preadv(q, fd, &v, 1, MIB / 2), PAGE);
	assert_pattern(buf, PAGE, 2, MIB / 2);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(preadv_says_so_and_msync_too) };

	return h_main(tests, 1, argc, argv);
}
