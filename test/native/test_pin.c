/* SPDX-License-Identifier: MIT */
/*
 * test_pin.c - pinned memory in real system calls: read, write, O_DIRECT, and
 * what a pin holds against.
 */
#include "harness.h"

#include <sys/socket.h>

#define RW (PROT_READ | PROT_WRITE)

static void write_from_managed_memory(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * MIB, 1), out = h_sparse("g", 0);
	uint8_t *p = h_map(q, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	size_t len = MIB + 1234;

	assert_ok(quire_pin(q, p + 321, len, 0));
	assert_true(h_stats(q).pinned >= len);
	assert_int_equal(write(out, p + 321, len), len);
	quire_unpin(q, p + 321, len);
	assert_int_equal(h_stats(q).pinned, 0);
	{
		uint8_t *buf = malloc(len);

		h_file_read(out, buf, len, 0);
		assert_pattern(buf, len, 1, 321);
		free(buf);
	}
	assert_ok(quire_close(q));
}

static void read_into_managed_memory(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 2 * MIB, 1), in = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, 2 * MIB, RW, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p + 100, MIB, QUIRE_PIN_WRITE));
	assert_int_equal(pread(in, p + 100, MIB, 0), MIB);
	quire_unpin(q, p + 100, MIB);
	assert_pattern(p, 100, 1, 0);
	assert_pattern(p + 100, MIB, 2, 0);
	assert_pattern(p + 100 + MIB, MIB - 100, 1, MIB + 100);
	assert_ok(quire_msync(q, p, 2 * MIB, MS_SYNC));
	{
		uint8_t *buf = malloc(MIB);

		h_file_read(fd, buf, MIB, 100);
		assert_pattern(buf, MIB, 2, 0);
		free(buf);
	}
	assert_ok(quire_close(q));
}

/* Without a pin the kernel's own access does not reach us. */
static void unpinned_is_efault(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), out = h_sparse("g", 0);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_errno(write(out, p, PAGE), EFAULT);
	assert_ok(quire_close(q));
}

static void direct_io(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), in, out;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	close(h_file("g", MIB, 2));
	close(h_sparse("h", 0));
	in = open("g", O_RDONLY | O_DIRECT);
	out = open("h", O_RDWR | O_DIRECT);
	if (in < 0 || out < 0)
		h_skip("the file system has no O_DIRECT");
	assert_ok(quire_pin(q, p, MIB / 2, QUIRE_PIN_WRITE));
	assert_int_equal(pread(in, p, MIB / 2, 0), MIB / 2);
	quire_unpin(q, p, MIB / 2);
	assert_ok(quire_pin(q, p, MIB, 0));
	assert_int_equal(pwrite(out, p, MIB, 0), MIB);
	quire_unpin(q, p, MIB);
	assert_pattern(p, MIB / 2, 2, 0);
	close(out);
	out = open("h", O_RDONLY);
	assert_file_pattern(out, MIB / 2, 2, 0);
	assert_file_pattern(out, MIB / 2, 1, MIB / 2);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB / 2, 2, 0);
}

static void private_pages(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), in = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_PRIVATE, fd, 0);

	assert_ok(quire_pin(q, p, MIB / 2, QUIRE_PIN_WRITE));
	assert_int_equal(pread(in, p, MIB / 2, 0), MIB / 2);
	quire_unpin(q, p, MIB / 2);
	assert_ok(quire_pin(q, p, MIB, 0));
	assert_int_equal(pwrite(in, p, MIB, 0), MIB);
	quire_unpin(q, p, MIB);
	assert_file_pattern(in, MIB / 2, 2, 0);
	assert_file_pattern(in, MIB / 2, 1, MIB / 2);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 1, 0);
}

/* A pinned page is not reclaimed, whatever else is read meanwhile. */
static void holds_against_reclaim(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 32 * MIB, 1), in = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, 32 * MIB, RW, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p, MIB, QUIRE_PIN_WRITE));
	assert_pattern(p, 32 * MIB, 1, 0);
	assert_pattern(p, 32 * MIB, 1, 0);
	assert_int_equal(pread(in, p, MIB, 0), MIB);
	quire_unpin(q, p, MIB);
	assert_pattern(p + MIB, 31 * MIB, 1, MIB);
	assert_pattern(p, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

/* Write-back may write-protect; the pin's promise is that it does not matter. */
static void holds_against_msync(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), in = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p, MIB, QUIRE_PIN_WRITE));
	assert_int_equal(pread(in, p, MIB / 2, 0), MIB / 2);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_int_equal(pread(in, p + MIB / 2, MIB / 2, MIB / 2), MIB / 2);
	quire_unpin(q, p, MIB);
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_file_pattern(fd, MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void holds_against_madvise(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), out = h_sparse("g", 0);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p, MIB, 0));
	assert_ok(quire_madvise(q, p, MIB, MADV_PAGEOUT));
	assert_ok(quire_madvise(q, p, MIB, MADV_COLD));
	assert_int_equal(pwrite(out, p, MIB, 0), MIB);
	quire_unpin(q, p, MIB);
	assert_file_pattern(out, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void pins_nest(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 32 * MIB, 1), out = h_sparse("g", 0);
	uint8_t *p = h_map(q, 32 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p, MIB, 0));
	assert_ok(quire_pin(q, p + MIB / 2, MIB, 0));
	quire_unpin(q, p, MIB);
	assert_pattern(p, 32 * MIB, 1, 0);
	assert_int_equal(pwrite(out, p + MIB / 2, MIB, 0), MIB);
	quire_unpin(q, p + MIB / 2, MIB);
	assert_int_equal(h_stats(q).pinned, 0);
	assert_ok(quire_close(q));
}

/* The buffer may reach over the ends of what is managed. */
static void foreign_bytes_are_ignored(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t local[100], *m = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ok(quire_pin(q, local, sizeof(local), 0));
	quire_unpin(q, local, sizeof(local));
	assert_ok(munmap(m + PAGE, PAGE));
	memset(m, 0x3c, PAGE);
	memset(m + 2 * PAGE, 0x3d, PAGE);
	assert_ptr_equal(quire_mmap(q, m + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0),
			 m + PAGE);
	assert_ok(quire_pin(q, m, 3 * PAGE, 0));
	assert_int_equal(pwrite(fd, m, 3 * PAGE, MIB), 3 * PAGE);
	quire_unpin(q, m, 3 * PAGE);
	{
		uint8_t buf[3 * PAGE];

		h_file_read(fd, buf, 3 * PAGE, MIB);
		assert_all(buf, PAGE, 0x3c);
		assert_pattern(buf + PAGE, PAGE, 1, 0);
		assert_all(buf + 2 * PAGE, PAGE, 0x3d);
	}
	assert_ok(quire_close(q));
}

static void arguments_and_errors(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB + 10, 1);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map(q, 16 * MIB + 2 * PAGE, RW, MAP_SHARED, fd, 0);
	uint8_t *r = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint8_t *n = h_map(q, MIB, PROT_NONE, MAP_SHARED, fd, 0);
	uint8_t *e = h_map_store(q, MIB, RW, MAP_SHARED, s);

	assert_errno(quire_pin(q, p, PAGE, 2), EINVAL);
	assert_ok(quire_pin(q, p, 0, 0));
	quire_unpin(q, p, 0);
	assert_errno(quire_pin(q, r, PAGE, QUIRE_PIN_WRITE), EFAULT);
	assert_errno(quire_pin(q, n, PAGE, 0), EFAULT);
	/* The last page of the file is whole, the one after it is not there. */
	assert_ok(quire_pin(q, p + 16 * MIB, PAGE, 0));
	quire_unpin(q, p + 16 * MIB, PAGE);
	assert_errno(quire_pin(q, p + 16 * MIB, PAGE + 1, 0), EFAULT);
	s->read_error = EIO;
	assert_errno(quire_pin(q, e, PAGE, 0), EFAULT);
	s->read_error = 0;
	assert_ok(quire_pin(q, e, PAGE, 0));
	quire_unpin(q, e, PAGE);
	/* More than the budget: nothing stays pinned. */
	assert_errno(quire_pin(q, p, 16 * MIB, 0), ENOMEM);
	assert_int_equal(h_stats(q).pinned, 0);
	assert_pattern(p, 16 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void pinned_memory_limits_the_budget(void **state)
{
	struct quire *q = h_open(32 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1);
	uint8_t *p = h_map(q, 16 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(quire_pin(q, p, 16 * MIB, 0));
	assert_errno(quire_set_memory(q, 8 * MIB), EBUSY);
	assert_int_equal(h_stats(q).memory, 32 * MIB);
	quire_unpin(q, p, 16 * MIB);
	assert_ok(quire_set_memory(q, 8 * MIB));
	assert_pattern(p, 16 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void sockets_and_pipes(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), s[2], i;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t buf[4 * PAGE];

	assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	for (i = 0; i < 50; i++) {
		size_t at = (size_t)i * 4 * PAGE % MIB;

		assert_ok(quire_pin(q, p + at, sizeof(buf), 0));
		assert_int_equal(send(s[0], p + at, sizeof(buf), 0), sizeof(buf));
		quire_unpin(q, p + at, sizeof(buf));
		assert_int_equal(recv(s[1], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
		assert_pattern(buf, sizeof(buf), 1, at);
	}
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_from_managed_memory),
		cmocka_unit_test(read_into_managed_memory),
		cmocka_unit_test(unpinned_is_efault),
		cmocka_unit_test(direct_io),
		cmocka_unit_test(private_pages),
		cmocka_unit_test(holds_against_reclaim),
		cmocka_unit_test(holds_against_msync),
		cmocka_unit_test(holds_against_madvise),
		cmocka_unit_test(pins_nest),
		cmocka_unit_test(foreign_bytes_are_ignored),
		cmocka_unit_test(arguments_and_errors),
		cmocka_unit_test(pinned_memory_limits_the_budget),
		cmocka_unit_test(sockets_and_pipes),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
