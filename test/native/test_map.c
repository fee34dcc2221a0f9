/* SPDX-License-Identifier: MIT */
/*
 * test_map.c - quire_mmap() of shared files: what is read and written, several
 * views of one file, and every wrong argument.
 */
#include "harness.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define RW (PROT_READ | PROT_WRITE)

static void reads_a_file(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, 4 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_ok(close(fd));
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_munmap(q, p, 4 * MIB));
	assert_ok(quire_close(q));
}

static void reads_more_than_the_budget(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 40 * MIB, 1), pass;
	uint8_t *p = h_map(q, 40 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	for (pass = 0; pass < 3; pass++)
		assert_pattern(p, 40 * MIB, 1, 0);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	assert_true(h_stats(q).evicted_pages > 0);
	assert_ok(quire_close(q));
}

static void reads_at_random(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 32 * MIB, 1), i;
	uint8_t *p = h_map(q, 32 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t r = 88172645463325252u;

	for (i = 0; i < 20000; i++) {
		uint64_t at = h_random(&r) % (32 * MIB);

		assert_int_equal(p[at], h_byte(1, at));
	}
	assert_int_equal(h_stats(q).lost_reads, 0);
	assert_ok(quire_close(q));
}

static void writes_reach_the_file(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, 4 * MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p + MIB, MIB, 2, MIB);
	assert_pattern(p, MIB, 1, 0);
	assert_pattern(p + MIB, MIB, 2, MIB);
	assert_pattern(p + 2 * MIB, 2 * MIB, 1, 2 * MIB);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 1, 0);
	assert_file_pattern(fd, MIB, 2, MIB);
	assert_file_pattern(fd, 2 * MIB, 1, 2 * MIB);
}

static void writes_more_than_the_budget(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	int fd = h_file("f", 40 * MIB, 1);
	uint8_t *p = h_map(q, 40 * MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, 40 * MIB, 2, 0);
	assert_pattern(p, 40 * MIB, 2, 0);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, 40 * MIB, 2, 0);
}

static void write_first_then_read(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	/* The first access to the page is a write: the rest of it is the file's. */
	p[5 * PAGE + 17] = 0xa5;
	assert_int_equal(p[5 * PAGE + 17], 0xa5);
	assert_pattern(p + 5 * PAGE, 17, 1, 5 * PAGE);
	assert_pattern(p + 5 * PAGE + 18, PAGE - 18, 1, 5 * PAGE + 18);
	assert_ok(quire_close(q));
}

static void survives_munmap(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	h_fill(p, MIB, 2, 0);
	assert_ok(quire_munmap(q, p, MIB));
	p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	assert_pattern(p, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

static void views_are_coherent(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2 = open("f", O_RDWR);
	uint8_t *a = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	uint8_t *b = h_map(q, MIB, RW, MAP_SHARED, fd2, 0);
	uint8_t *c = h_map(q, MIB / 2, PROT_READ, MAP_SHARED, fd, MIB / 2);
	size_t i;

	for (i = 0; i < MIB; i += 1000) {
		a[i] = (uint8_t)(i / 1000);
		assert_int_equal(b[i], (uint8_t)(i / 1000));
		b[i] = (uint8_t)(i / 500);
		assert_int_equal(a[i], (uint8_t)(i / 500));
		if (i >= MIB / 2)
			assert_int_equal(c[i - MIB / 2], (uint8_t)(i / 500));
	}
	assert_ok(quire_close(q));
}

static void hard_links_are_one_file(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2;
	uint8_t *a, *b;

	assert_ok(link("f", "g"));
	fd2 = open("g", O_RDWR);
	assert_ok(fd2);
	a = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	b = h_map(q, MIB, RW, MAP_SHARED, fd2, 0);
	a[12345] = 99;
	assert_int_equal(b[12345], 99);
	assert_ok(quire_close(q));
}

static void unlinked_file(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 12 * MIB, 1);
	uint8_t *p = h_map(q, 12 * MIB, RW, MAP_SHARED, fd, 0);

	assert_ok(unlink("f"));
	assert_ok(close(fd));
	h_fill(p, 12 * MIB, 2, 0);
	assert_pattern(p, 12 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

/* A view for reading of a file that another descriptor may write. */
static void read_only_descriptor(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), ro = open("f", O_RDONLY);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, ro, 0);
	uint8_t *w;

	assert_pattern(p, MIB, 1, 0);
	w = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	w[777] = 55;
	assert_int_equal(p[777], 55);
	/* The only one that could be written through goes; its data does not. */
	assert_ok(quire_munmap(q, w, MIB));
	assert_ok(close(fd));
	assert_ok(quire_close(q));
	fd = open("f", O_RDONLY);
	h_file_read(fd, &(uint8_t){ 0 }, 1, 0);
	{
		uint8_t byte;

		h_file_read(fd, &byte, 1, 777);
		assert_int_equal(byte, 55);
	}
}

static void maps_at_offsets(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 4 * MIB, 1);
	size_t off;

	for (off = 0; off < 4 * MIB; off += 37 * PAGE) {
		uint8_t *p = h_map(q, 2 * PAGE, PROT_READ, MAP_SHARED, fd, (off_t)off);
		size_t n = 4 * MIB - off < 2 * PAGE ? 4 * MIB - off : 2 * PAGE;

		assert_pattern(p, n, 1, off);
		assert_ok(quire_munmap(q, p, 2 * PAGE));
	}
	assert_int_equal(h_stats(q).mappings, 0);
	assert_ok(quire_close(q));
}

static void length_is_rounded_up(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, 5000, PROT_READ, MAP_SHARED, fd, 0);

	assert_pattern(p, 2 * PAGE, 1, 0);
	assert_true(quire_contains(q, p + 2 * PAGE - 1, 1));
	assert_false(quire_contains(q, p + 2 * PAGE, 1));
	assert_ok(quire_munmap(q, p, 5000));
	assert_false(quire_contains(q, p + PAGE, 1));
	assert_ok(quire_close(q));
}

static void large_offset(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	off_t far = (off_t)3 << 40;
	int fd = h_sparse("f", 0);
	uint8_t *p;

	if (ftruncate(fd, far + (off_t)MIB) != 0)
		h_skip("the file system has no files of 3 TiB");
	p = h_map(q, MIB, RW, MAP_SHARED, fd, far);
	assert_all(p, MIB, 0);
	p[4242] = 42;
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	{
		uint8_t byte;

		h_file_read(fd, &byte, 1, far + 4242);
		assert_int_equal(byte, 42);
	}
	assert_ok(quire_close(q));
}

static void holes_read_zero_and_take_writes(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_sparse("f", 16 * MIB);
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);

	assert_all(p, 16 * MIB, 0);
	h_fill(p + 3 * MIB, MIB, 3, 3 * MIB);
	assert_all(p, 3 * MIB, 0);
	assert_pattern(p + 3 * MIB, MIB, 3, 3 * MIB);
	assert_all(p + 4 * MIB, 12 * MIB, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 3, 3 * MIB);
}

static void fixed_replaces_its_own(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), fd2 = h_file("g", MIB, 2);
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	assert_pattern(p, MIB, 1, 0);
	p[300 * KIB] = 1;
	assert_ptr_equal(
		quire_mmap(q, p + 256 * KIB, 256 * KIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd2, 0),
		p + 256 * KIB);
	assert_pattern(p, 256 * KIB, 1, 0);
	assert_pattern(p + 256 * KIB, 256 * KIB, 2, 0);
	assert_pattern(p + 512 * KIB, 512 * KIB, 1, 512 * KIB);
	assert_ok(quire_close(q));
	{
		uint8_t byte;

		h_file_read(fd, &byte, 1, 300 * KIB);
		assert_int_equal(byte, 1);
	}
}

static void fixed_refuses_what_is_not_ours(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *m = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(m, MAP_FAILED);
	memset(m, 0x77, MIB);
	assert_map_errno(quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), EINVAL);
	assert_all(m, MIB, 0x77);
	assert_map_errno(quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0),
			 EEXIST);
	assert_all(m, MIB, 0x77);
	assert_ok(quire_close(q));
}

static void fixed_into_the_free(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *m = mmap(NULL, 1024 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;

	/* In the middle of a large hole: what else is mapped meanwhile goes to its end. */
	assert_ok(munmap(m, 1024 * MIB));
	m += 512 * MIB;
	p = quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	assert_ptr_equal(p, m);
	assert_pattern(p, MIB, 1, 0);
	assert_map_errno(
		quire_mmap(q, p + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0),
		EEXIST);
	assert_ok(quire_munmap(q, p, MIB));
	p = quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_ptr_equal(p, m);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void hint_is_only_a_hint(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *m = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;

	p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	assert_pattern(p, MIB, 1, 0);
	p = quire_mmap(q, m, MIB, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ptr_not_equal(p, m);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void populate_reads_at_once(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	unsigned char vec[MIB / PAGE];
	uint8_t *p = quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	size_t i;

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ok(quire_resident(q, p, MIB, vec));
	for (i = 0; i < MIB / PAGE; i++)
		assert_true(vec[i] & 1);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void other_flags_are_taken(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);

	assert_pattern(p, MIB, 1, 0);
	p = h_map(q, MIB, PROT_READ, MAP_SHARED_VALIDATE, fd, 0);
	assert_pattern(p, MIB, 1, 0);
	p = h_map(q, MIB, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void reserve_allocates_blocks(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_sparse("f", 4 * MIB);
	uint8_t *p = h_map(q, 4 * MIB, RW, MAP_SHARED | QUIRE_MAP_RESERVE, fd, 0);
	struct stat st;

	assert_ok(fstat(fd, &st));
	assert_true((uint64_t)st.st_blocks * 512 >= 4 * MIB);
	assert_all(p, 4 * MIB, 0);
	assert_ok(quire_close(q));
}

static void wrong_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);

	assert_map_errno(quire_mmap(q, NULL, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, 0, fd, 0), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, fd, -(off_t)PAGE),
			 EOVERFLOW);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0),
			 EINVAL);
	assert_map_errno(quire_mmap(q, (void *)4097, MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0),
			 EINVAL);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED | MAP_HUGETLB, fd, 0),
			 EINVAL);
	assert_true(strlen(quire_error()) > 0);
	assert_int_equal(h_stats(q).mappings, 0);
	assert_ok(quire_close(q));
}

static void lengths_that_overflow(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);

	assert_map_errno(quire_mmap(q, NULL, SIZE_MAX & ~(PAGE - 1), PROT_READ, MAP_SHARED, fd, 0),
			 ENOMEM);
	assert_map_errno(quire_mmap(q, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, fd, 0), ENOMEM);
	assert_map_errno(quire_mmap(q, NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd,
				    (off_t)(INT64_MAX & ~(int64_t)(PAGE - 1))),
			 EOVERFLOW);
	/* 2^56 bytes: more address space than there is. */
	assert_map_errno(quire_mmap(q, NULL, (size_t)1 << 56, PROT_READ, MAP_SHARED, fd, 0),
			 ENOMEM);
	assert_ok(quire_close(q));
}

static void wrong_descriptors(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), p[2], s[2], dir, wo, ro, path;

	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, -1, 0), EBADF);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, 9999, 0), EBADF);
	path = open("f", O_PATH);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, path, 0), EBADF);
	assert_ok(pipe(p));
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, p[0], 0), ENODEV);
	assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, s[0], 0), ENODEV);
	dir = open(".", O_RDONLY | O_DIRECTORY);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, dir, 0), ENODEV);
	wo = open("f", O_WRONLY);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, wo, 0), EACCES);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_WRITE, MAP_SHARED, wo, 0), EACCES);
	assert_map_errno(quire_mmap(q, NULL, MIB, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
	ro = open("f", O_RDONLY);
	assert_map_errno(quire_mmap(q, NULL, MIB, RW, MAP_SHARED, ro, 0), EACCES);
	assert_int_equal(h_stats(q).mappings, 0);
	assert_pattern(h_map(q, MIB, RW, MAP_PRIVATE, ro, 0), MIB, 1, 0);
	assert_ok(close(fd));
	assert_ok(quire_close(q));
}

static void rights_are_kept(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *r = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0), byte;
	uint8_t *n = h_map(q, MIB, PROT_NONE, MAP_SHARED, fd, 0);

	h_catch();
	/* Present or not, a write to what is for reading is SIGSEGV. */
	assert_int_equal(h_write(r + 5 * PAGE, 1), SIGSEGV);
	assert_int_equal(h_read(r, &byte), 0);
	assert_int_equal(h_write(r, 1), SIGSEGV);
	assert_ptr_equal(h_fault_addr, r);
	assert_int_equal(h_read(n, &byte), SIGSEGV);
	assert_int_equal(h_write(n, 1), SIGSEGV);
	assert_pattern(r, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void write_only_prot(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_WRITE, MAP_SHARED, fd, 0);

	p[100] = 5;
	assert_ok(quire_close(q));
	{
		uint8_t byte;

		h_file_read(fd, &byte, 1, 100);
		assert_int_equal(byte, 5);
	}
}

static void contains_says_what_is_mapped(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1);
	uint8_t *p = h_map(q, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	int local;

	assert_true(quire_contains(q, p, 1));
	assert_true(quire_contains(q, p, 4 * PAGE));
	assert_true(quire_contains(q, p + 4 * PAGE - 1, 1));
	assert_true(quire_contains(q, p - 10, 11));
	assert_false(quire_contains(q, p - 10, 10));
	assert_true(quire_contains(q, p + 2 * PAGE, 100 * PAGE));
	assert_false(quire_contains(q, p + 4 * PAGE, 1));
	assert_false(quire_contains(q, &local, sizeof(local)));
	assert_false(quire_contains(q, NULL, 1));
	assert_ok(quire_munmap(q, p, 4 * PAGE));
	assert_false(quire_contains(q, p, 4 * PAGE));
	assert_ok(quire_close(q));
}

static void many_files(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	uint8_t *p[64];
	char name[16];
	int i, fd;

	for (i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fd = h_file(name, 64 * KIB, (uint64_t)i);
		p[i] = h_map(q, 64 * KIB, RW, MAP_SHARED, fd, 0);
		assert_ok(close(fd));
	}
	for (i = 0; i < 64; i++)
		assert_pattern(p[i], 64 * KIB, (uint64_t)i, 0);
	assert_true(h_stats(q).mappings == 64);
	assert_ok(quire_close(q));
}

static void many_views(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), i;
	uint8_t *p[500];

	for (i = 0; i < 500; i++)
		p[i] = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	p[0][5] = 200;
	for (i = 0; i < 500; i++)
		assert_int_equal(p[i][5], 200);
	for (i = 0; i < 500; i++)
		assert_ok(quire_munmap(q, p[i], MIB));
	assert_int_equal(h_stats(q).mappings, 0);
	assert_ok(quire_close(q));
}

static void block_device(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	char cmd[256], dev[64] = "";
	int fd = h_file("image", 4 * MIB, 7), dfd;
	uint8_t *p, byte;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "/sbin/losetup -f --show image 2>/dev/null");
	f = popen(cmd, "r");
	assert_non_null(f);
	if (!fgets(dev, sizeof(dev), f))
		dev[0] = '\0';
	pclose(f);
	dev[strcspn(dev, "\n")] = '\0';
	if (!dev[0])
		h_skip("no loop device for this user");
	dfd = open(dev, O_RDWR | O_EXCL);
	/* It goes when the last user closes it, whatever happens below. */
	snprintf(cmd, sizeof(cmd), "/sbin/losetup -d %s", dev);
	if (system(cmd) != 0)
		print_message("losetup -d failed\n");
	assert_ok(dfd);
	p = h_map(q, 4 * MIB, RW, MAP_SHARED, dfd, 0);
	assert_pattern(p, 4 * MIB, 7, 0);
	p[PAGE + 1] = 0xee;
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_ok(quire_close(q));
	assert_ok(close(dfd));
	assert_ok(fsync(fd));
	h_file_read(fd, &byte, 1, PAGE + 1);
	assert_int_equal(byte, 0xee);
}

struct reader {
	struct quire *q;
	uint8_t *p;
	size_t len;
	uint64_t seed;
};

static void *reader_run(void *arg)
{
	struct reader *r = arg;
	uint64_t rnd = r->seed;
	int i;

	for (i = 0; i < 4000; i++) {
		uint64_t at = h_random(&rnd) % r->len;

		CHECK(r->p[at] == h_byte(1, at));
	}
	return NULL;
}

static void many_threads_read(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	uint8_t *p = h_map(q, 16 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	struct reader r[16];
	pthread_t t[16];

	for (i = 0; i < 16; i++) {
		r[i] = (struct reader){ q, p, 16 * MIB, (uint64_t)i + 1 };
		assert_int_equal(pthread_create(&t[i], NULL, reader_run, &r[i]), 0);
	}
	for (i = 0; i < 16; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(h_stats(q).lost_reads, 0);
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	assert_ok(quire_close(q));
}

/* All at the same page at once: one reads, the rest wait for it. */
static void *same_page_run(void *arg)
{
	struct reader *r = arg;
	size_t at;

	for (at = 0; at < r->len; at += PAGE)
		CHECK(r->p[at] == h_byte(1, at));
	return NULL;
}

static void threads_meet_on_one_page(void **state)
{
	struct quire *q = h_open(H_BUDGET, "readahead=0");
	struct h_store *s = h_store_new(64 * PAGE, 1);
	struct reader r = { q, h_map_store(q, 64 * PAGE, PROT_READ, MAP_SHARED, s), 64 * PAGE, 0 };
	pthread_t t[16];
	int i;

	s->delay_us = 1000;
	for (i = 0; i < 16; i++)
		assert_int_equal(pthread_create(&t[i], NULL, same_page_run, &r), 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	/* Nothing was read twice. */
	assert_int_equal(s->read_bytes, 64 * PAGE);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_file),
		cmocka_unit_test(reads_more_than_the_budget),
		cmocka_unit_test(reads_at_random),
		cmocka_unit_test(writes_reach_the_file),
		cmocka_unit_test(writes_more_than_the_budget),
		cmocka_unit_test(write_first_then_read),
		cmocka_unit_test(survives_munmap),
		cmocka_unit_test(views_are_coherent),
		cmocka_unit_test(hard_links_are_one_file),
		cmocka_unit_test(unlinked_file),
		cmocka_unit_test(read_only_descriptor),
		cmocka_unit_test(maps_at_offsets),
		cmocka_unit_test(length_is_rounded_up),
		cmocka_unit_test(large_offset),
		cmocka_unit_test(holes_read_zero_and_take_writes),
		cmocka_unit_test(fixed_replaces_its_own),
		cmocka_unit_test(fixed_refuses_what_is_not_ours),
		cmocka_unit_test(fixed_into_the_free),
		cmocka_unit_test(hint_is_only_a_hint),
		cmocka_unit_test(populate_reads_at_once),
		cmocka_unit_test(other_flags_are_taken),
		cmocka_unit_test(reserve_allocates_blocks),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(lengths_that_overflow),
		cmocka_unit_test(wrong_descriptors),
		cmocka_unit_test(rights_are_kept),
		cmocka_unit_test(write_only_prot),
		cmocka_unit_test(contains_says_what_is_mapped),
		cmocka_unit_test(many_files),
		cmocka_unit_test(many_views),
		cmocka_unit_test(block_device),
		cmocka_unit_test(many_threads_read),
		cmocka_unit_test(threads_meet_on_one_page),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
