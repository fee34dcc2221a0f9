/* SPDX-License-Identifier: MIT */
/*
 * test_file.c - preadv, pwritev and fsync beside the mapping of the same file:
 * one content, whoever wrote it and wherever it is.
 */
#include "harness.h"

#include <sys/stat.h>

#define RW (PROT_READ | PROT_WRITE)

static ssize_t read_at(struct quire *q, int fd, void *buf, size_t len, off_t off)
{
	struct iovec v = { buf, len };

	return quire_preadv(q, fd, &v, 1, off);
}

static ssize_t write_at(struct quire *q, int fd, const void *buf, size_t len, off_t off)
{
	struct iovec v = { (void *)buf, len };

	return quire_pwritev(q, fd, &v, 1, off);
}

static void read_sees_the_mapping(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[3 * PAGE];

	h_fill(p + PAGE, PAGE, 2, PAGE);
	assert_int_equal(read_at(q, fd, buf, sizeof(buf), 0), sizeof(buf));
	assert_pattern(buf, PAGE, 1, 0);
	assert_pattern(buf + PAGE, PAGE, 2, PAGE);
	assert_pattern(buf + 2 * PAGE, PAGE, 1, 2 * PAGE);
	assert_int_equal(read_at(q, fd, buf, 100, PAGE + 33), 100);
	assert_pattern(buf, 100, 2, PAGE + 33);
	assert_ok(quire_close(q));
}

static void mapping_sees_the_write(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0), buf[3 * PAGE];

	assert_pattern(p, MIB / 2, 1, 0);
	/* In what is in memory, in what is not, and across the boundary. */
	h_fill(buf, sizeof(buf), 2, 100);
	assert_int_equal(write_at(q, fd, buf, sizeof(buf), 100), sizeof(buf));
	assert_pattern(p, 100, 1, 0);
	assert_pattern(p + 100, sizeof(buf), 2, 100);
	assert_pattern(p + 100 + sizeof(buf), PAGE, 1, 100 + sizeof(buf));
	h_fill(buf, sizeof(buf), 3, MIB - PAGE - 50);
	assert_int_equal(write_at(q, fd, buf, PAGE, MIB - PAGE - 50), PAGE);
	assert_pattern(p + MIB - PAGE - 50, PAGE, 3, MIB - PAGE - 50);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, 100, 1, 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 100), sizeof(buf));
	assert_pattern(buf, sizeof(buf), 2, 100);
}

static void mixed_at_random(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	size_t len = 8 * MIB;
	int fd = h_file("f", len, 1), i;
	uint8_t *p = h_map(q, len, RW, MAP_SHARED, fd, 0), *shadow = malloc(len);
	uint8_t *buf = malloc(64 * KIB);
	uint64_t r = 11;

	h_fill(shadow, len, 1, 0);
	for (i = 0; i < 3000; i++) {
		size_t at = h_random(&r) % len, n = h_random(&r) % (i % 10 ? 5000 : 64 * KIB);

		if (n > len - at)
			n = len - at;
		switch (h_random(&r) % 5) {
		case 0:
			h_fill(buf, n, h_random(&r), 0);
			assert_int_equal(write_at(q, fd, buf, n, (off_t)at), n);
			memcpy(shadow + at, buf, n);
			break;
		case 1:
			assert_int_equal(read_at(q, fd, buf, n, (off_t)at), n);
			assert_memory_equal(buf, shadow + at, n);
			break;
		case 2:
			memset(p + at, i, n);
			memset(shadow + at, i, n);
			break;
		case 3:
			assert_memory_equal(p + at, shadow + at, n);
			break;
		default:
			if (i % 20 == 0)
				assert_ok(quire_fsync(q, fd));
			break;
		}
	}
	assert_memory_equal(p, shadow, len);
	assert_ok(quire_close(q));
	h_file_read(fd, p = malloc(len), len, 0);
	assert_memory_equal(p, shadow, len);
	free(p);
	free(shadow);
	free(buf);
}

static void write_grows_the_file(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", PAGE + 100, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[PAGE], byte;
	struct stat st;

	h_catch();
	assert_sigbus(p + 2 * PAGE);
	h_fill(buf, PAGE, 2, 3 * PAGE + 7);
	assert_int_equal(write_at(q, fd, buf, PAGE, 3 * PAGE + 7), PAGE);
	/* At once, not when the pager looks. */
	assert_int_equal(h_read(p + 2 * PAGE, &byte), 0);
	assert_all(p + PAGE + 100, 2 * PAGE - 100 + 7, 0);
	assert_pattern(p + 3 * PAGE + 7, PAGE, 2, 3 * PAGE + 7);
	assert_ok(fstat(fd, &st));
	assert_int_equal(st.st_size, 4 * PAGE + 7);
	assert_sigbus(p + 5 * PAGE);
	assert_ok(quire_close(q));
	assert_ok(fstat(fd, &st));
	assert_int_equal(st.st_size, 4 * PAGE + 7);
}

static void reads_end_at_the_end(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", PAGE + 100, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[4 * PAGE];

	p[PAGE + 50] = 1;
	assert_int_equal(read_at(q, fd, buf, sizeof(buf), 0), PAGE + 100);
	assert_int_equal(buf[PAGE + 50], 1);
	assert_int_equal(read_at(q, fd, buf, sizeof(buf), PAGE + 90), 10);
	assert_int_equal(read_at(q, fd, buf, sizeof(buf), PAGE + 100), 0);
	assert_int_equal(read_at(q, fd, buf, sizeof(buf), MIB), 0);
	assert_int_equal(read_at(q, fd, buf, 0, 0), 0);
	assert_ok(quire_close(q));
}

static void vectors(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), a[10], b[PAGE], c[1];
	struct iovec v[4] = { { a, sizeof(a) }, { NULL, 0 }, { b, sizeof(b) }, { c, sizeof(c) } };

	assert_int_equal(p[0], h_byte(1, 0));
	assert_int_equal(quire_preadv(q, fd, v, 4, 5), 11 + PAGE);
	assert_pattern(a, 10, 1, 5);
	assert_pattern(b, PAGE, 1, 15);
	assert_pattern(c, 1, 1, 15 + PAGE);
	memset(a, 1, sizeof(a));
	memset(b, 2, sizeof(b));
	memset(c, 3, sizeof(c));
	assert_int_equal(quire_pwritev(q, fd, v, 4, 5), 11 + PAGE);
	assert_all(p + 5, 10, 1);
	assert_all(p + 15, PAGE, 2);
	assert_all(p + 15 + PAGE, 1, 3);
	assert_ok(quire_close(q));
}

static void file_position(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[100];

	memset(buf, 0x12, sizeof(buf));
	assert_int_equal(lseek(fd, 50, SEEK_SET), 50);
	assert_int_equal(write_at(q, fd, buf, 100, -1), 100);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 150);
	assert_all(p + 50, 100, 0x12);
	assert_int_equal(p[150], h_byte(1, 150));
	assert_int_equal(write_at(q, fd, buf, 100, 1000), 100);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 150);
	assert_ok(quire_close(q));
}

static void append(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ap = open("f", O_WRONLY | O_APPEND);
	uint8_t *p = h_map(q, 2 * MIB, RW, MAP_SHARED, fd, 0), buf[100];

	h_catch();
	memset(buf, 0x13, sizeof(buf));
	assert_int_equal(write_at(q, ap, buf, 100, -1), 100);
	assert_all(p + MIB, 100, 0x13);
	assert_int_equal(write_at(q, ap, buf, 100, -1), 100);
	assert_all(p + MIB, 200, 0x13);
	assert_int_equal(p[0], h_byte(1, 0));
	assert_ok(quire_close(q));
	assert_int_equal(lseek(fd, 0, SEEK_END), MIB + 200);
}

/* The buffer is managed memory, of the same file even. */
static void buffers_may_be_managed(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), other = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_int_equal(write_at(q, fd, p, PAGE, 10 * PAGE), PAGE);
	assert_pattern(p + 10 * PAGE, PAGE, 1, 0);
	assert_int_equal(read_at(q, fd, p + 20 * PAGE, PAGE, 30 * PAGE), PAGE);
	assert_pattern(p + 20 * PAGE, PAGE, 1, 30 * PAGE);
	assert_int_equal(read_at(q, other, p + MIB / 2, MIB / 2, 0), MIB / 2);
	assert_pattern(p + MIB / 2, MIB / 2, 2, 0);
	assert_int_equal(write_at(q, other, p + 20 * PAGE, PAGE, 5), PAGE);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, PAGE, 1, 0);
	{
		uint8_t buf[PAGE];

		h_file_read(other, buf, PAGE, 5);
		assert_pattern(buf, PAGE, 1, 30 * PAGE);
	}
}

static void unmapped_files_go_to_the_kernel(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), p[2];
	uint8_t buf[100];

	assert_int_equal(read_at(q, fd, buf, 100, 77), 100);
	assert_pattern(buf, 100, 1, 77);
	memset(buf, 5, 100);
	assert_int_equal(write_at(q, fd, buf, 100, 77), 100);
	assert_ok(quire_fsync(q, fd));
	assert_ok(pipe(p));
	assert_int_equal(write_at(q, p[1], buf, 100, -1), 100);
	assert_int_equal(read(p[0], buf, 100), 100);
	assert_ok(quire_close(q));
}

static void fsync_writes_all_views(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, MIB, 2, 0);
	assert_ok(quire_munmap(q, p, MIB / 2));
	assert_ok(quire_fsync(q, fd));
	assert_int_equal(h_stats(q).dirty, 0);
	assert_file_pattern(fd, MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0), buf[100] = { 0 };
	struct iovec v = { buf, sizeof(buf) };

	assert_errno(read_at(q, -1, buf, 100, 0), EBADF);
	assert_errno(write_at(q, -1, buf, 100, 0), EBADF);
	assert_ok(quire_fsync(q, -1)); /* every file */
	assert_errno(quire_fsync(q, 1 << 20), EBADF);
	assert_errno(write_at(q, ro, buf, 100, 0), EBADF);
	assert_errno(read_at(q, wo, buf, 100, 0), EBADF);
	assert_errno(read_at(q, fd, buf, 100, -5), EINVAL);
	assert_errno(write_at(q, fd, buf, 100, -5), EINVAL);
	assert_errno(quire_preadv(q, fd, &v, -1, 0), EINVAL);
	assert_errno(quire_pwritev(q, fd, &v, 5000, 0), EINVAL);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void read_errors_are_errno(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	/* A bad buffer is EFAULT, not a signal. */
	assert_int_equal(p[0], h_byte(1, 0));
	assert_errno(read_at(q, fd, (void *)16, 100, 0), EFAULT);
	assert_errno(write_at(q, fd, (void *)16, 100, 0), EFAULT);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_sees_the_mapping),
		cmocka_unit_test(mapping_sees_the_write),
		cmocka_unit_test(mixed_at_random),
		cmocka_unit_test(write_grows_the_file),
		cmocka_unit_test(reads_end_at_the_end),
		cmocka_unit_test(vectors),
		cmocka_unit_test(file_position),
		cmocka_unit_test(append),
		cmocka_unit_test(buffers_may_be_managed),
		cmocka_unit_test(unmapped_files_go_to_the_kernel),
		cmocka_unit_test(fsync_writes_all_views),
		cmocka_unit_test(arguments),
		cmocka_unit_test(read_errors_are_errno),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
