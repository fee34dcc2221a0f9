/* SPDX-License-Identifier: MIT */
/*
 * test_full.c - real file systems without room: a tmpfs, an ext4 on a loop
 * device, a limit on the size of files. What was written stays, msync says so,
 * and once there is room a later msync writes it all.
 */
#include "harness.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)

/* An ext4 of so many MiB on a loop device, which goes with the mount. */
static bool mount_ext4(const char *dir, int mib)
{
	char cmd[512];

	if (getuid() != 0 || mkdir(dir, 0700) != 0 || !h_mounts_alone())
		return false;
	snprintf(
		cmd, sizeof(cmd),
		"PATH=$PATH:/sbin:/usr/sbin; truncate -s %dM image && mkfs.ext4 -q -O ^has_journal "
		"-m 0 image && mount -o loop image %s",
		mib, dir);
	return system(cmd) == 0;
}

static void fill_up(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600), n = 0;
	static const uint8_t buf[64 * KIB];

	assert_ok(fd);
	while (write(fd, buf, sizeof(buf)) > 0)
		n++;
	assert_int_equal(errno, ENOSPC);
	while (write(fd, buf, 512) > 0)
		n++;
	assert_true(n > 0);
	close(fd);
}

/*
 * file is sparse, the file system full: every page that is written needs a
 * block that is not there.
 */
static void full_then_room(const char *file, const char *filler)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_sparse(file, 4 * MIB), i;
	uint8_t *p = h_map(q, 4 * MIB, RW, MAP_SHARED, fd, 0);

	assert_all(p, 4 * MIB, 0);
	fill_up(filler);
	h_fill(p, 4 * MIB, 2, 0);
	for (i = 0; i < 3; i++) {
		assert_errno(quire_msync(q, p, 4 * MIB, MS_SYNC), ENOSPC);
		assert_pattern(p, 4 * MIB, 2, 0);
		assert_true(h_stats(q).dirty > 0);
	}
	assert_ok(unlink(filler));
	h_msync_healed(q, p, 4 * MIB, ENOSPC);
	assert_int_equal(h_stats(q).dirty, 0);
	assert_file_pattern(fd, 4 * MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, 4 * MIB, 2, 0);
	close(fd);
}

static void reserve_when_full(const char *file, const char *filler)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_sparse(file, 4 * MIB);
	uint8_t *p;

	fill_up(filler);
	assert_map_errno(quire_mmap(q, NULL, 4 * MIB, RW, MAP_SHARED | QUIRE_MAP_RESERVE, fd, 0),
			 ENOSPC);
	assert_int_equal(h_stats(q).mappings, 0);
	assert_ok(unlink(filler));
	p = h_map(q, 4 * MIB, RW, MAP_SHARED | QUIRE_MAP_RESERVE, fd, 0);
	/* What was reserved can be written, however full it gets. */
	fill_up(filler);
	h_fill(p, 4 * MIB, 3, 0);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_file_pattern(fd, 4 * MIB, 3, 0);
	assert_ok(quire_close(q));
	close(fd);
}

static void tmpfs_full(void **state)
{
	if (!h_mount_tmpfs("m", "size=8m"))
		h_skip("no mount for this user");
	full_then_room("m/f", "m/filler");
}

static void tmpfs_reserve(void **state)
{
	if (!h_mount_tmpfs("m", "size=8m"))
		h_skip("no mount for this user");
	reserve_when_full("m/f", "m/filler");
}

static void ext4_full(void **state)
{
	if (!mount_ext4("m", 16))
		h_skip("no loop device for this user");
	full_then_room("m/f", "m/filler");
}

static void ext4_reserve(void **state)
{
	if (!mount_ext4("m", 16))
		h_skip("no loop device for this user");
	reserve_when_full("m/f", "m/filler");
}

/* On ext4 also with the budget full of pages that cannot be written. */
static void full_and_out_of_budget(void **state)
{
	struct quire *q;
	int fd, sig = 0;
	size_t at, i;
	uint8_t *p;

	if (!h_mount_tmpfs("m", "size=24m"))
		h_skip("no mount for this user");
	q = h_open(4 * MIB, NULL);
	fd = h_sparse("m/f", 16 * MIB);
	p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);
	h_catch();
	fill_up("m/filler");
	for (at = 0; at < 16 * MIB && !sig; at += PAGE)
		sig = h_write(p + at, 0xe1);
	assert_int_equal(sig, SIGBUS);
	at -= PAGE;
	assert_ptr_equal(h_fault_addr, p + at);
	assert_errno(quire_msync(q, p, 16 * MIB, MS_SYNC), ENOSPC);
	assert_ok(unlink("m/filler"));
	h_msync_healed(q, p, 16 * MIB, ENOSPC);
	for (i = 0; i < at; i += PAGE) {
		uint8_t byte;

		h_file_read(fd, &byte, 1, (off_t)i);
		assert_int_equal(byte, 0xe1);
	}
	assert_int_equal(h_write(p + at, 0xe1), 0);
	assert_ok(quire_close(q));
	close(fd);
}

static void size_limit(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct rlimit old, small;
	int fd = h_file("f", 4 * MIB, 1);
	uint8_t *p = h_map(q, 4 * MIB, RW, MAP_SHARED, fd, 0);

	assert_pattern(p, 4 * MIB, 1, 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_ok(getrlimit(RLIMIT_FSIZE, &old));
	small = old;
	small.rlim_cur = MIB;
	h_fill(p, 4 * MIB, 2, 0);
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	assert_errno(quire_msync(q, p, 4 * MIB, MS_SYNC), EFBIG);
	assert_pattern(p, 4 * MIB, 2, 0);
	assert_ok(setrlimit(RLIMIT_FSIZE, &old));
	h_msync_healed(q, p, 4 * MIB, EFBIG);
	assert_file_pattern(fd, 4 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

/* tmpfs has no O_DIRECT (or has it only lately): all works through the cache. */
static void file_on_tmpfs(void **state)
{
	struct quire *q;
	int fd;
	uint8_t *p;

	if (!h_mount_tmpfs("m", "size=64m"))
		h_skip("no mount for this user");
	q = h_open(4 * MIB, NULL);
	fd = h_file("m/f", 16 * MIB, 1);
	p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);
	assert_pattern(p, 16 * MIB, 1, 0);
	h_fill(p, 16 * MIB, 2, 0);
	assert_pattern(p, 16 * MIB, 2, 0);
	assert_ok(quire_msync(q, p, 16 * MIB, MS_SYNC));
	assert_file_pattern(fd, 16 * MIB, 2, 0);
	assert_ok(quire_close(q));
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tmpfs_full),
		cmocka_unit_test(tmpfs_reserve),
		cmocka_unit_test(ext4_full),
		cmocka_unit_test(ext4_reserve),
		cmocka_unit_test(full_and_out_of_budget),
		cmocka_unit_test(size_limit),
		cmocka_unit_test(file_on_tmpfs),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
