/* SPDX-License-Identifier: MIT */
/*
 * test_truncate.c - the end of the file: its last page, what lies past it, and
 * the file growing and shrinking while it is mapped.
 */
#include "harness.h"

#include <pthread.h>
#include <sys/stat.h>

#define RW (PROT_READ | PROT_WRITE)

static off_t size_of(int fd)
{
	struct stat st;

	assert_ok(fstat(fd, &st));
	return st.st_size;
}

static void tail_reads_zero_and_is_not_written(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 3 * PAGE + 777, 1);
	uint8_t *p = h_map(q, 4 * PAGE, RW, MAP_SHARED, fd, 0);

	assert_pattern(p, 3 * PAGE + 777, 1, 0);
	assert_all(p + 3 * PAGE + 777, PAGE - 777, 0);
	memset(p + 3 * PAGE + 700, 0x55, PAGE - 700);
	assert_ok(quire_msync(q, p, 4 * PAGE, MS_SYNC));
	assert_int_equal(size_of(fd), 3 * PAGE + 777);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), 3 * PAGE + 777);
	assert_file_pattern(fd, 3 * PAGE + 700, 1, 0);
	{
		uint8_t buf[77];

		h_file_read(fd, buf, 77, 3 * PAGE + 700);
		assert_all(buf, 77, 0x55);
	}
	/* Grown afterwards, it shows no trace of what was written past the end. */
	assert_ok(ftruncate(fd, 4 * PAGE));
	{
		uint8_t buf[PAGE - 777];

		h_file_read(fd, buf, sizeof(buf), 3 * PAGE + 777);
		assert_all(buf, sizeof(buf), 0);
	}
}

static void beyond_the_end_is_sigbus(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * PAGE + 1, 1);
	uint8_t *p = h_map(q, 8 * PAGE, RW, MAP_SHARED, fd, 0);

	h_catch();
	assert_sigbus(p + 3 * PAGE);
	assert_sigbus(p + 8 * PAGE - 1);
	assert_int_equal(h_write(p + 5 * PAGE + 5, 1), SIGBUS);
	assert_ptr_equal(h_fault_addr, p + 5 * PAGE + 5);
	assert_pattern(p, 2 * PAGE + 1, 1, 0);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), 2 * PAGE + 1);
}

static volatile int call_error;
static volatile uint64_t call_offset;

static enum quire_error_action note(const struct quire_error_info *info, void *arg)
{
	call_error = info->error;
	call_offset = info->offset;
	return QUIRE_ERROR_SIGNAL;
}

static void beyond_the_end_is_enxio(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, MIB / 2);

	h_catch();
	assert_ok(quire_on_error(q, p, MIB, note, NULL));
	assert_sigbus(p + MIB / 2 + 10);
	assert_int_equal(call_error, ENXIO);
	assert_int_equal(call_offset, MIB + 10);
	assert_ok(quire_close(q));
}

static void empty_file(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_sparse("f", 0);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_catch();
	assert_sigbus(p);
	assert_ok(quire_ftruncate(q, fd, 10));
	assert_all(p, PAGE, 0);
	p[9] = 1;
	assert_sigbus(p + PAGE);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), 10);
}

static void shrink_by_quire(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *v = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	size_t end = 100 * PAGE + 50;

	h_catch();
	h_fill(p, MIB, 2, 0);
	assert_pattern(v, MIB, 2, 0);
	assert_ok(quire_ftruncate(q, fd, (off_t)end));
	assert_int_equal(size_of(fd), end);
	assert_pattern(p, end, 2, 0);
	assert_all(p + end, PAGE - 50, 0);
	assert_all(v + end, PAGE - 50, 0);
	assert_sigbus(p + 101 * PAGE);
	assert_sigbus(v + 101 * PAGE);
	assert_sigbus(p + MIB - 1);
	assert_int_equal(h_write(p + 200 * PAGE, 1), SIGBUS);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_int_equal(size_of(fd), end);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), end);
	assert_file_pattern(fd, end, 2, 0);
}

static void grow_by_quire(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 10 * PAGE + 50, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_catch();
	assert_sigbus(p + 11 * PAGE);
	/* Bytes past the end of the last page do not come back with the growth. */
	memset(p + 10 * PAGE + 50, 0x99, 100);
	assert_ok(quire_ftruncate(q, fd, MIB));
	assert_all(p + 10 * PAGE + 50, MIB - 10 * PAGE - 50, 0);
	h_fill(p, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), MIB);
	assert_file_pattern(fd, MIB, 2, 0);
}

static void shrink_and_grow_again(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), i;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	for (i = 0; i < 20; i++) {
		size_t end = (size_t)(i * 12345 + 1) % MIB;

		h_fill(p, MIB, (uint64_t)i, 0);
		assert_ok(quire_ftruncate(q, fd, (off_t)end));
		assert_ok(quire_ftruncate(q, fd, MIB));
		assert_pattern(p, end, (uint64_t)i, 0);
		assert_all(p + end, MIB - end, 0);
	}
	assert_ok(quire_close(q));
}

static void truncate_of_a_private_view(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);

	h_catch();
	memset(p, 0x11, PAGE);
	memset(p + 50 * PAGE, 0x22, PAGE);
	assert_ok(quire_ftruncate(q, fd, 10 * PAGE));
	assert_all(p, PAGE, 0x11);
	assert_pattern(p + PAGE, 9 * PAGE, 1, PAGE);
	assert_sigbus(p + 20 * PAGE);
	/* As the kernel: copies past the end go too. */
	assert_sigbus(p + 50 * PAGE);
	assert_ok(quire_close(q));
}

/* Truncated behind our back: noticed by the pager. */
static void shrink_from_outside(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), byte;

	h_catch();
	assert_pattern(p, MIB, 1, 0);
	assert_ok(ftruncate(fd, 10 * PAGE + 5));
	while (h_read(p + 20 * PAGE, &byte) != SIGBUS)
		h_sleep_ms(5);
	assert_pattern(p, 10 * PAGE + 5, 1, 0);
	assert_all(p + 10 * PAGE + 5, PAGE - 5, 0);
	assert_sigbus(p + 11 * PAGE);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), 10 * PAGE + 5);
}

static void shrink_from_outside_with_dirty_pages(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), byte;

	h_catch();
	h_fill(p, MIB, 2, 0);
	assert_ok(ftruncate(fd, 10 * PAGE));
	while (h_read(p + 20 * PAGE, &byte) != SIGBUS)
		h_sleep_ms(5);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_pattern(p, 10 * PAGE, 2, 0);
	/* Write-back of what was dirty does not make the file long again. */
	assert_int_equal(size_of(fd), 10 * PAGE);
	assert_ok(quire_close(q));
	assert_int_equal(size_of(fd), 10 * PAGE);
	assert_file_pattern(fd, 10 * PAGE, 2, 0);
}

static void grow_from_outside(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 10 * PAGE + 5, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), byte, buf[PAGE];

	h_catch();
	assert_pattern(p, 10 * PAGE + 5, 1, 0);
	assert_sigbus(p + 20 * PAGE);
	h_fill(buf, PAGE, 1, 20 * PAGE);
	assert_int_equal(pwrite(fd, buf, PAGE, 20 * PAGE), PAGE);
	while (h_read(p + 20 * PAGE, &byte) != 0)
		h_sleep_ms(5);
	assert_pattern(p + 20 * PAGE, PAGE, 1, 20 * PAGE);
	assert_all(p + 11 * PAGE, 9 * PAGE, 0);
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ro = open("f", O_RDONLY), plain = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_errno(quire_ftruncate(q, -1, 0), EBADF);
	assert_errno(quire_ftruncate(q, fd, -1), EINVAL);
	assert_errno(quire_ftruncate(q, ro, 0), EINVAL);
	assert_int_equal(size_of(fd), MIB);
	assert_pattern(p, MIB, 1, 0);
	/* A file that is not mapped goes straight to the kernel. */
	assert_ok(quire_ftruncate(q, plain, 100));
	assert_int_equal(size_of(plain), 100);
	assert_ok(quire_close(q));
}

/* Readers and writers run while the end moves: SIGBUS or right, never else. */
struct mover {
	struct quire *q;
	int fd;
	uint8_t *p;
	_Atomic bool stop;
};

static void *toucher(void *arg)
{
	struct mover *m = arg;
	uint64_t r = 99;
	uint8_t byte;

	while (!m->stop) {
		uint64_t at = h_random(&r) % MIB;
		int sig = h_read(m->p + at, &byte);

		CHECK(sig == 0 || sig == SIGBUS);
		/* 0 where the file shrank and grew again. */
		CHECK(sig || byte == h_byte(1, at) || byte == 0);
		sig = h_write(m->p + at, h_byte(1, at));
		CHECK(sig == 0 || sig == SIGBUS);
	}
	return NULL;
}

static void end_moves_under_threads(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct mover m = { .q = q, .fd = h_file("f", MIB, 1) };
	pthread_t t[4];
	uint64_t r = 5;
	int i;

	m.p = h_map(q, MIB, RW, MAP_SHARED, m.fd, 0);
	h_catch();
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, toucher, &m), 0);
	for (i = 0; i < 300; i++) {
		off_t end = (off_t)(h_random(&r) % MIB);

		assert_ok(quire_ftruncate(q, m.fd, end));
		assert_int_equal(size_of(m.fd), end);
		if (i % 7 == 0)
			assert_ok(quire_msync(q, m.p, MIB, MS_SYNC));
		assert_int_equal(size_of(m.fd), end);
	}
	m.stop = true;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_ok(quire_ftruncate(q, m.fd, 0));
	assert_ok(quire_ftruncate(q, m.fd, MIB));
	assert_all(m.p, MIB, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tail_reads_zero_and_is_not_written),
		cmocka_unit_test(beyond_the_end_is_sigbus),
		cmocka_unit_test(beyond_the_end_is_enxio),
		cmocka_unit_test(empty_file),
		cmocka_unit_test(shrink_by_quire),
		cmocka_unit_test(grow_by_quire),
		cmocka_unit_test(shrink_and_grow_again),
		cmocka_unit_test(truncate_of_a_private_view),
		cmocka_unit_test(shrink_from_outside),
		cmocka_unit_test(shrink_from_outside_with_dirty_pages),
		cmocka_unit_test(grow_from_outside),
		cmocka_unit_test(arguments),
		cmocka_unit_test(end_moves_under_threads),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
