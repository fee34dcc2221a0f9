/* SPDX-License-Identifier: MIT */
/*
 * test_anon.c - anonymous memory: zeros at first, content kept over the swap store, the
 * errors of both, and what every call on a mapping does to it.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* With a swap store of so many bytes, which has its place in the current directory. */
static struct quire *open_swap(uint64_t memory, uint64_t swap)
{
	char opts[64];

	snprintf(opts, sizeof(opts), "swap=swap,swap_size=%luM", (unsigned long)(swap / MIB));
	return h_open(memory, opts);
}

static uint8_t *map_anon(struct quire *q, size_t len)
{
	return h_map(q, len, RW, ANON, -1, 0);
}

/* What a write to the store is for comes to its end in the background. */
static void wait_swapped(struct quire *q, void *p, size_t len)
{
	static unsigned char vec[64 * MIB / PAGE];
	size_t i, n = len / PAGE, there;

	do {
		assert_ok(quire_resident(q, p, len, vec));
		for (i = there = 0; i < n; i++)
			there += vec[i] & 1;
		if (there)
			h_sleep_ms(5);
	} while (there);
}

/* Out of memory, whatever is in it: to the store, or to nowhere if it is one word. */
static void page_out(struct quire *q, void *p, size_t len)
{
	assert_ok(quire_madvise(q, p, len, MADV_PAGEOUT));
}

/* ---- content ---- */

static void zeros_at_first(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 16 * MIB);

	assert_all(p, 16 * MIB, 0);
	p[5 * MIB + 7] = 1;
	assert_all(p, 5 * MIB + 7, 0);
	assert_int_equal(p[5 * MIB + 7], 1);
	assert_all(p + 5 * MIB + 8, 11 * MIB - 8, 0);
	assert_true(h_stats(q).faults_zero > 0);
	assert_true(h_stats(q).charged_max <= 4 * MIB);
	assert_ok(quire_close(q));
}

/* The first access is a write; what is around it is zero. */
static void first_access_is_a_write(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	uint8_t *p = map_anon(q, MIB);
	size_t at;

	for (at = 0; at < MIB; at += 3 * PAGE)
		p[at + 100] = 9;
	for (at = 0; at < MIB; at += PAGE) {
		assert_all(p + at, 100, 0);
		assert_int_equal(p[at + 100], at % (3 * PAGE) ? 0 : 9);
		assert_all(p + at + 101, PAGE - 101, 0);
	}
	assert_ok(quire_close(q));
}

/* Four times as much as fits, written, read, written in part, read. */
static void keep_over_swap(uint64_t budget)
{
	size_t len = 4 * budget, at;
	struct quire *q = open_swap(budget, len + 8 * MIB);
	uint8_t *p = map_anon(q, len);
	struct quire_stats s;

	h_fill(p, len, 1, 0);
	assert_pattern(p, len, 1, 0);
	for (at = 0; at < len; at += 7 * PAGE)
		h_fill(p + at, PAGE / 2, 2, at);
	for (at = 0; at + PAGE <= len; at += PAGE) {
		assert_pattern(p + at, PAGE / 2, at % (7 * PAGE) ? 1 : 2, at);
		assert_pattern(p + at + PAGE / 2, PAGE / 2, 1, at + PAGE / 2);
	}
	s = h_stats(q);
	assert_true(s.charged_max <= budget);
	assert_true(s.swap_writes > 0);
	assert_true(s.swap_write_bytes >= len - budget);
	assert_true(s.swap_reads > 0);
	assert_int_equal(s.swap_size, len + 8 * MIB);
	assert_true(s.swap_used >= len - budget && s.swap_used <= s.swap_size);
	assert_int_equal(s.lost_reads, 0);
	assert_int_equal(s.write_errors + s.read_errors, 0);
	assert_ok(quire_munmap(q, p, len));
	assert_becomes(h_stats(q).swap_used, 0);
	assert_becomes(h_stats(q).anon, 0);
	assert_int_equal(h_stats(q).committed, 0);
	assert_ok(quire_close(q));
}

static void kept_over_swap_2m(void **state)
{
	keep_over_swap(2 * MIB);
}

static void kept_over_swap_5m(void **state)
{
	keep_over_swap(5 * MIB);
}

static void kept_over_swap_16m(void **state)
{
	keep_over_swap(16 * MIB);
}

/* In no order that readahead or clustering could like. */
static void kept_over_swap_random(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	size_t pages = 16 * MIB / PAGE, i;
	uint8_t *p = map_anon(q, 16 * MIB);
	uint64_t *count = calloc(pages, sizeof(*count)), state_ = 12345;

	assert_non_null(count);
	for (i = 0; i < 4 * pages; i++) {
		size_t page = h_random(&state_) % pages;
		uint64_t *at = (uint64_t *)(p + page * PAGE + page % 500 * 8);

		assert_int_equal(*at, count[page] ? h_word(page, count[page] * 8) : 0);
		if (h_random(&state_) % 2)
			*at = h_word(page, ++count[page] * 8);
	}
	free(count);
	assert_ok(quire_close(q));
}

static void many_regions(void **state)
{
	struct quire *q = open_swap(4 * MIB, 64 * MIB);
	uint8_t *p[64];
	size_t i;

	for (i = 0; i < 64; i++) {
		p[i] = map_anon(q, 256 * KIB);
		h_fill(p[i], 256 * KIB, i, 0);
	}
	for (i = 0; i < 64; i += 2)
		assert_ok(quire_munmap(q, p[i], 256 * KIB));
	for (i = 1; i < 64; i += 2)
		assert_pattern(p[i], 256 * KIB, i, 0);
	assert_ok(quire_close(q));
}

/* Files and anonymous memory share one budget. */
static void beside_files(void **state)
{
	struct quire *q = open_swap(6 * MIB, 32 * MIB);
	int fd = h_file("f", 12 * MIB, 3), i;
	uint8_t *f = h_map(q, 12 * MIB, RW, MAP_SHARED, fd, 0), *p = map_anon(q, 12 * MIB);

	for (i = 0; i < 3; i++) {
		h_fill(p, 12 * MIB, (uint64_t)i, 0);
		assert_pattern(f, 12 * MIB, 3, 0);
		assert_pattern(p, 12 * MIB, (uint64_t)i, 0);
	}
	assert_true(h_stats(q).charged_max <= 6 * MIB);
	assert_ok(quire_close(q));
}

/* ---- what needs no slot, and no second write ---- */

static void zeros_need_no_slot(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 16 * MIB);

	memset(p, 0, 16 * MIB);
	page_out(q, p, 16 * MIB);
	wait_swapped(q, p, 16 * MIB);
	assert_becomes(h_stats(q).swap_used, 0);
	assert_int_equal(h_stats(q).swap_writes, 0);
	assert_all(p, 16 * MIB, 0);
	assert_ok(quire_close(q));
}

/* One 32-bit word over and over. The last byte makes the difference. */
static void one_word_needs_no_slot(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 8 * MIB);
	uint32_t *word = (uint32_t *)p;
	size_t i;

	for (i = 0; i < 8 * MIB / 4; i++)
		word[i] = 0xdead0000u + (uint32_t)(i / (PAGE / 4));
	page_out(q, p, 8 * MIB);
	assert_int_equal(h_stats(q).swap_writes, 0);
	assert_becomes(h_stats(q).swap_used, 0);
	for (i = 0; i < 8 * MIB / 4; i++)
		assert_int_equal(word[i], 0xdead0000u + (uint32_t)(i / (PAGE / 4)));
	p[PAGE - 1] ^= 1;
	page_out(q, p, PAGE);
	wait_swapped(q, p, PAGE);
	assert_becomes(h_stats(q).swap_used, PAGE);
	assert_int_equal(p[PAGE - 1], 0xde ^ 1);
	assert_int_equal(p[PAGE - 2], 0xad);
	assert_ok(quire_close(q));
}

static void clean_pages_are_not_written_again(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 16 * MIB);
	uint64_t written;

	h_fill(p, 16 * MIB, 1, 0);
	page_out(q, p, 16 * MIB);
	wait_swapped(q, p, 16 * MIB);
	written = h_stats(q).swap_write_bytes;
	assert_pattern(p, 16 * MIB, 1, 0);
	assert_pattern(p, 16 * MIB, 1, 0);
	assert_int_equal(h_stats(q).swap_write_bytes, written);
	/* One that is stored to is. */
	p[0] ^= 1;
	page_out(q, p, PAGE);
	wait_swapped(q, p, PAGE);
	assert_int_equal(h_stats(q).swap_write_bytes, written + PAGE);
	assert_int_equal(p[0], h_byte(1, 0) ^ 1);
	assert_ok(quire_close(q));
}

/* ---- what fits ---- */

static void no_store_is_enomem_at_the_call(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	uint8_t *p = map_anon(q, 4 * MIB), *r;

	assert_map_errno(quire_mmap(q, NULL, 8 * MIB, RW, ANON, -1, 0), ENOMEM);
	assert_non_null(strstr(quire_error(), "do not fit"));
	/* There is no store that could ever take it. */
	assert_map_errno(quire_mmap(q, NULL, 8 * MIB, RW, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
	assert_int_equal(h_stats(q).committed, 4 * MIB);
	h_fill(p, 4 * MIB, 1, 0);
	assert_pattern(p, 4 * MIB, 1, 0);
	/* What cannot be written costs nothing, until it can. */
	r = h_map(q, 64 * MIB, PROT_READ, ANON, -1, 0);
	h_map(q, 64 * MIB, PROT_NONE, ANON, -1, 0);
	assert_all(r, 64 * MIB, 0);
	assert_errno(quire_mprotect(q, r, 64 * MIB, RW), ENOMEM);
	assert_int_equal(h_stats(q).committed, 4 * MIB);
	assert_ok(quire_mprotect(q, r, MIB, RW));
	assert_int_equal(h_stats(q).committed, 5 * MIB);
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_munmap(q, p, 4 * MIB));
	assert_int_equal(h_stats(q).committed, MIB);
	p = map_anon(q, 4 * MIB);
	assert_all(p, 4 * MIB, 0);
	assert_ok(quire_close(q));
}

/* All that was promised can be stored to at once. */
static void what_is_promised_is_kept(void **state)
{
	struct quire *q = open_swap(8 * MIB, 8 * MIB);
	uint8_t *p[64];
	size_t n;

	for (n = 0; n < 64; n++) {
		p[n] = quire_mmap(q, NULL, MIB, RW, ANON, -1, 0);
		if (p[n] == MAP_FAILED)
			break;
	}
	assert_true(n >= 12 && n < 16);
	for (size_t i = 0; i < n; i++)
		h_fill(p[i], MIB, i, 0);
	for (size_t i = 0; i < n; i++)
		assert_pattern(p[i], MIB, i, 0);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	assert_ok(quire_close(q));
}

static volatile int calls, call_error, call_write;
static void *volatile call_addr;

static enum quire_error_action note(const struct quire_error_info *info, void *arg)
{
	calls++;
	call_error = info->error;
	call_write = info->write;
	call_addr = info->addr;
	return QUIRE_ERROR_SIGNAL;
}

/* More than both hold: an error at that page, and all goes on when there is room. */
static void noreserve_is_enomem_at_that_page(void **state)
{
	struct quire *q = open_swap(8 * MIB, 8 * MIB);
	uint8_t *p = h_map(q, 64 * MIB, RW, ANON | MAP_NORESERVE, -1, 0);
	size_t at, i;
	int sig = 0;

	assert_map_errno(quire_mmap(q, NULL, 64 * MIB, RW, ANON, -1, 0), ENOMEM);
	h_catch();
	assert_ok(quire_on_error(q, p, 64 * MIB, note, NULL));
	for (at = 0; at < 64 * MIB && !sig; at += PAGE) {
		sig = h_write(p + at, 1);
		if (!sig)
			h_fill(p + at, PAGE, 1, at);
	}
	at -= PAGE;
	assert_int_equal(sig, SIGBUS);
	assert_int_equal(calls, 1);
	assert_int_equal(call_error, ENOMEM);
	assert_int_equal(call_write, 1);
	assert_ptr_equal(call_addr, p + at);
	assert_ptr_equal(h_fault_addr, p + at);
	assert_true(at >= 12 * MIB && at < 16 * MIB);
	assert_true(h_stats(q).charged_max <= 8 * MIB);
	/* Elsewhere there is room again: the same store now works. */
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_DONTNEED));
	for (i = 0; i < MIB; i += PAGE) {
		assert_int_equal(h_write(p + at + i, 1), 0);
		h_fill(p + at + i, PAGE, 1, at + i);
	}
	assert_pattern(p + 4 * MIB, at - 3 * MIB, 1, 4 * MIB);
	assert_all(p, PAGE, 0);
	assert_ok(quire_close(q));
}

/* ---- the store's own errors ---- */

static int try_open(const char *opts, const char *swap, uint64_t swap_size)
{
	struct quire_options o = { .size = sizeof(o),
				   .memory = 4 * MIB,
				   .opts = opts,
				   .swap = swap,
				   .swap_size = swap_size };
	struct quire *q = quire_open(&o);

	if (!q)
		return errno;
	assert_ok(quire_close(q));
	return 0;
}

static int entries_here(void)
{
	DIR *d = opendir(".");
	int n = -2; /* itself and its parent */

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void option_strings(void **state)
{
	char path[300];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(try_open(NULL, NULL, 0), 0);
	assert_int_equal(try_open(NULL, "a", 8 * MIB), 0);
	assert_int_equal(try_open("swap=a,swap_size=8M", NULL, 0), 0);
	assert_int_equal(try_open("swap=a", NULL, 0), 0);
	assert_int_equal(try_open("swap_size=8M", "a", 0), 0);
	assert_int_equal(try_open("rmap=A,move=0", "a", 8 * MIB), 0);
	assert_int_equal(try_open("rmap=B,move=1", "a", 8 * MIB), 0);
	assert_int_equal(try_open("swap=", NULL, 0), EINVAL);
	assert_int_equal(try_open(NULL, "", 0), EINVAL);
	assert_int_equal(try_open(NULL, path, 0), EINVAL);
	assert_int_equal(try_open("swap=a,swap_size=0", NULL, 0), EINVAL);
	assert_int_equal(try_open("swap=a,swap_size=4095", NULL, 0), EINVAL);
	assert_int_equal(try_open("swap=a,swap_size=x", NULL, 0), EINVAL);
	assert_int_equal(try_open("swap=a,swap_size=", NULL, 0), EINVAL);
	assert_int_equal(try_open(NULL, "a", 4095), EINVAL);
	assert_int_equal(try_open("rmap=C", NULL, 0), EINVAL);
	assert_int_equal(try_open("rmap=", NULL, 0), EINVAL);
	assert_int_equal(try_open("move=2", NULL, 0), EINVAL);
	assert_int_equal(try_open("move=", NULL, 0), EINVAL);
	assert_non_null(strstr(quire_error(), "move="));
	assert_int_equal(entries_here(), 0);
}

static void paths_that_cannot_be(void **state)
{
	close(h_file("there", PAGE, 1));
	assert_int_equal(try_open(NULL, "there", 8 * MIB), EEXIST);
	assert_non_null(strstr(quire_error(), "there"));
	assert_int_equal(try_open(NULL, "no/such/place", 8 * MIB), ENOENT);
	assert_int_equal(try_open(NULL, "there/below", 8 * MIB), ENOTDIR);
	if (getuid() != 0) {
		assert_ok(mkdir("closed", 0500));
		assert_int_equal(try_open(NULL, "closed/swap", 8 * MIB), EACCES);
	}
	/* That file is nobody's to delete. */
	assert_ok(access("there", F_OK));
}

static void no_room_for_the_store(void **state)
{
	if (!h_mount_tmpfs("m", "size=4m"))
		h_skip("cannot mount a tmpfs here");
	assert_int_equal(try_open(NULL, "m/swap", 8 * MIB), ENOSPC);
	assert_int_equal(try_open(NULL, "m", 8 * MIB), ENOSPC);
	assert_int_equal(try_open(NULL, "m/swap", MIB), 0);
	assert_ok(chdir("m"));
	assert_int_equal(entries_here(), 0);
}

/* In a directory, and by name; neither leaves one. */
static void the_store_has_no_name(void **state)
{
	struct quire *q = h_open(4 * MIB, "swap=.,swap_size=16M");
	uint8_t *p = map_anon(q, 12 * MIB);

	assert_int_equal(entries_here(), 0);
	h_fill(p, 12 * MIB, 1, 0);
	assert_pattern(p, 12 * MIB, 1, 0);
	assert_ok(quire_close(q));
	q = open_swap(4 * MIB, 16 * MIB);
	assert_int_equal(entries_here(), 0);
	assert_ok(quire_close(q));
	assert_int_equal(entries_here(), 0);
}

/* The store, by the library's descriptor: its link ends in " (deleted)". */
static int store_fd(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int fd = -1;

	assert_non_null(d);
	while (fd < 0 && (e = readdir(d)) != NULL) {
		char path[300], to[4096];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		n = readlink(path, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (strstr(to, "/swap (deleted)"))
			fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(d);
	return fd;
}

/*
 * A store that has become shorter reads nothing there, which is an error: at those pages
 * alone, and each time until it is as it was.
 */
static void a_failing_read_is_sigbus_there(void **state)
{
	struct quire *q = open_swap(8 * MIB, 8 * MIB);
	uint8_t *p = map_anon(q, 4 * MIB), *copy = malloc(8 * MIB), byte;
	int fd, failed = 0, i;

	h_catch();
	h_fill(p, 4 * MIB, 1, 0);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	fd = store_fd();
	assert_ok(fd);
	h_file_read(fd, copy, 8 * MIB, 0);
	assert_ok(ftruncate(fd, 2 * MIB));
	for (i = 0; i < 1024; i++) {
		int sig = h_read(p + (size_t)i * PAGE, &byte);

		if (sig) {
			assert_int_equal(sig, SIGBUS);
			assert_ptr_equal(h_fault_addr, p + (size_t)i * PAGE);
			failed++;
		} else {
			assert_pattern(p + (size_t)i * PAGE, PAGE, 1, (uint64_t)i * PAGE);
		}
	}
	/* All that was in the half which is gone, and nothing else. */
	assert_int_equal(failed, 512);
	assert_int_equal(h_stats(q).faults_error, 512);
	assert_true(h_stats(q).read_errors >= 512);
	assert_int_equal(pwrite(fd, copy + 2 * MIB, 6 * MIB, 2 * MIB), 6 * MIB);
	assert_ok(fdatasync(fd));
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* Writes that fail: the pages stay, dirty; msync says so once; elsewhere they can go. */
static void a_failing_write_keeps_the_page(void **state)
{
	struct rlimit old, none;
	struct quire *q = open_swap(8 * MIB, 16 * MIB);
	uint8_t *p = map_anon(q, 4 * MIB), *other = map_anon(q, MIB);
	int i;

	signal(SIGXFSZ, SIG_IGN);
	assert_ok(getrlimit(RLIMIT_FSIZE, &old));
	none = old;
	none.rlim_cur = 0;
	h_fill(other, MIB, 2, 0);
	h_fill(p, 4 * MIB, 1, 0);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_ok(setrlimit(RLIMIT_FSIZE, &none));
	page_out(q, p, MIB);
	for (i = 0; h_stats(q).write_errors == 0 || h_stats(q).writeback > 0; i++) {
		assert_true(i < 1000);
		h_sleep_ms(10);
	}
	assert_ok(setrlimit(RLIMIT_FSIZE, &old));
	assert_errno(quire_msync(q, p, 4 * MIB, MS_SYNC), EFBIG);
	assert_ok(quire_msync(q, p, 4 * MIB, MS_SYNC));
	assert_ok(quire_msync(q, other, MIB, MS_SYNC));
	assert_pattern(p, 4 * MIB, 1, 0);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_pattern(other, MIB, 2, 0);
	assert_ok(quire_close(q));
}

/* ---- the calls on a mapping ---- */

static void shared_is_as_private(void **state)
{
	struct quire *q = open_swap(4 * MIB, 16 * MIB);
	uint8_t *p = h_map(q, 12 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_all(p, 64 * KIB, 0);
	h_fill(p, 12 * MIB, 1, 0);
	assert_pattern(p, 12 * MIB, 1, 0);
	assert_ok(quire_msync(q, p, 12 * MIB, MS_SYNC));
	assert_ok(quire_close(q));
}

static void arguments(void **state)
{
	struct quire *q = open_swap(8 * MIB, 16 * MIB);
	uint8_t *p = map_anon(q, MIB), *n;

	assert_map_errno(quire_mmap(q, NULL, 0, RW, ANON, -1, 0), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
	assert_map_errno(quire_mmap(q, NULL, PAGE, RW, ANON | MAP_HUGETLB, -1, 0), EINVAL);
	assert_map_errno(quire_mmap(q, p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
	assert_map_errno(quire_mmap(q, p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	/* A descriptor is of no account. */
	n = h_map(q, 100, RW, ANON, 1234567, 0);
	assert_all(n, PAGE, 0);
	h_fill(p, MIB, 1, 0);
	assert_ptr_equal(quire_mmap(q, p + 64 * KIB, 64 * KIB, RW, ANON | MAP_FIXED, -1, 0),
			 p + 64 * KIB);
	assert_pattern(p, 64 * KIB, 1, 0);
	assert_all(p + 64 * KIB, 64 * KIB, 0);
	assert_pattern(p + 128 * KIB, MIB - 128 * KIB, 1, 128 * KIB);
	assert_ok(quire_close(q));
}

static void populate_at_once(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	uint8_t *p = h_map(q, MIB, RW, ANON | MAP_POPULATE, -1, 0);
	unsigned char vec[256];
	uint64_t faults = h_stats(q).faults;

	assert_ok(quire_resident(q, p, MIB, vec));
	for (int i = 0; i < 256; i++)
		assert_int_equal(vec[i] & 3, 3);
	memset(p, 1, MIB);
	assert_int_equal(h_stats(q).faults, faults);
	assert_ok(quire_close(q));
}

/* Resident and swapped pages alike. */
static void rights_change_content_stays(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 12 * MIB), byte;

	h_catch();
	h_fill(p, 12 * MIB, 1, 0);
	assert_ok(quire_mprotect(q, p, 12 * MIB, PROT_READ));
	assert_pattern(p, 12 * MIB, 1, 0);
	assert_int_equal(h_write(p, 1), SIGSEGV);
	assert_int_equal(h_write(p + 12 * MIB - 1, 1), SIGSEGV);
	assert_ok(quire_mprotect(q, p, 12 * MIB, PROT_NONE));
	assert_int_equal(h_read(p, &byte), SIGSEGV);
	assert_int_equal(h_read(p + 6 * MIB, &byte), SIGSEGV);
	assert_ok(quire_mprotect(q, p + 4 * MIB, 4 * MIB, RW));
	assert_pattern(p + 4 * MIB, 4 * MIB, 1, 4 * MIB);
	h_fill(p + 4 * MIB, 4 * MIB, 2, 4 * MIB);
	assert_ok(quire_mprotect(q, p, 12 * MIB, PROT_READ));
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_pattern(p + 4 * MIB, 4 * MIB, 2, 4 * MIB);
	assert_pattern(p + 8 * MIB, 4 * MIB, 1, 8 * MIB);
	assert_ok(quire_mprotect(q, p, 12 * MIB, RW));
	h_fill(p, 12 * MIB, 3, 0);
	assert_pattern(p, 12 * MIB, 3, 0);
	assert_ok(quire_close(q));
}

/* What was never touched is zero under any rights. */
static void rights_before_the_first_touch(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	uint8_t *p = h_map(q, MIB, PROT_READ, ANON, -1, 0);

	h_catch();
	assert_all(p, MIB / 2, 0);
	assert_int_equal(h_write(p, 1), SIGSEGV);
	assert_ok(quire_mprotect(q, p, MIB, RW));
	h_fill(p + MIB / 4, MIB / 2, 1, 0);
	assert_all(p, MIB / 4, 0);
	assert_pattern(p + MIB / 4, MIB / 2, 1, 0);
	assert_all(p + MIB / 4 * 3, MIB / 4, 0);
	assert_ok(quire_close(q));
}

static void munmap_of_the_middle(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 12 * MIB), byte;

	h_catch();
	h_fill(p, 12 * MIB, 1, 0);
	assert_ok(quire_munmap(q, p + 3 * MIB, 5 * MIB));
	assert_int_equal(h_stats(q).committed, 7 * MIB);
	assert_true(h_stats(q).swap_used <= 7 * MIB);
	assert_int_equal(h_read(p + 3 * MIB, &byte), SIGSEGV);
	assert_int_equal(h_read(p + 8 * MIB - 1, &byte), SIGSEGV);
	assert_pattern(p, 3 * MIB, 1, 0);
	assert_pattern(p + 8 * MIB, 4 * MIB, 1, 8 * MIB);
	/* The hole is filled again: zeros, and its neighbours as they were. */
	assert_ptr_equal(quire_mmap(q, p + 3 * MIB, 5 * MIB, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
			 p + 3 * MIB);
	assert_all(p + 3 * MIB, 5 * MIB, 0);
	assert_pattern(p, 3 * MIB, 1, 0);
	assert_pattern(p + 8 * MIB, 4 * MIB, 1, 8 * MIB);
	assert_ok(quire_close(q));
}

static void mremap_grows_shrinks_and_moves(void **state)
{
	struct quire *q = open_swap(4 * MIB, 64 * MIB);
	uint8_t *p = map_anon(q, 6 * MIB), *n, *at, byte;

	h_catch();
	h_fill(p, 6 * MIB, 1, 0);
	n = quire_mremap(q, p, 6 * MIB, 10 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_pattern(n, 6 * MIB, 1, 0);
	assert_all(n + 6 * MIB, 4 * MIB, 0);
	h_fill(n + 6 * MIB, 4 * MIB, 1, 6 * MIB);
	assert_ptr_equal(quire_mremap(q, n, 10 * MIB, 5 * MIB, 0, NULL), n);
	assert_int_equal(h_read(n + 5 * MIB, &byte), SIGSEGV);
	assert_pattern(n, 5 * MIB, 1, 0);
	assert_int_equal(h_stats(q).committed, 5 * MIB);
	/* To an address of our choice, over what is ours there; larger than it was. */
	at = map_anon(q, 12 * MIB);
	memset(at, 7, 12 * MIB);
	assert_ptr_equal(
		quire_mremap(q, n, 5 * MIB, 7 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, at + MIB),
		at + MIB);
	assert_int_equal(h_read(n, &byte), SIGSEGV);
	assert_all(at, MIB, 7);
	assert_pattern(at + MIB, 5 * MIB, 1, 0);
	assert_all(at + 6 * MIB, 2 * MIB, 0);
	assert_all(at + 8 * MIB, 4 * MIB, 7);
	assert_int_equal(h_stats(q).committed, 12 * MIB);
	/* A part of a mapping. */
	n = quire_mremap(q, at + 2 * MIB, MIB, 2 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_pattern(n, MIB, 1, MIB);
	assert_all(n + MIB, MIB, 0);
	assert_int_equal(h_read(at + 2 * MIB, &byte), SIGSEGV);
	assert_pattern(at + MIB, MIB, 1, 0);
	assert_pattern(at + 3 * MIB, 3 * MIB, 1, 2 * MIB);
	assert_ok(quire_close(q));
}

static void mremap_errors(void **state)
{
	struct quire *q = h_open(8 * MIB, NULL);
	uint8_t *p = map_anon(q, 2 * MIB);

	h_fill(p, 2 * MIB, 1, 0);
	assert_map_errno(quire_mremap(q, p, 2 * MIB, 64 * MIB, MREMAP_MAYMOVE, NULL), ENOMEM);
	assert_map_errno(
		quire_mremap(q, p, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + MIB),
		EINVAL);
	assert_map_errno(quire_mremap(q, p, 3 * MIB, 4 * MIB, MREMAP_MAYMOVE, NULL), EFAULT);
	assert_pattern(p, 2 * MIB, 1, 0);
	assert_int_equal(h_stats(q).committed, 2 * MIB);
	assert_ok(quire_close(q));
}

/* Content that must not be accessed moves as well. */
static void mremap_under_other_rights(void **state)
{
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 8 * MIB), *n;

	h_catch();
	h_fill(p, 8 * MIB, 1, 0);
	assert_ok(quire_mprotect(q, p, 8 * MIB, PROT_READ));
	n = quire_mremap(q, p, 8 * MIB, 9 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(n, MAP_FAILED);
	assert_pattern(n, 8 * MIB, 1, 0);
	assert_int_equal(h_write(n, 1), SIGSEGV);
	assert_ok(quire_mprotect(q, n, 9 * MIB, PROT_NONE));
	p = quire_mremap(q, n, 9 * MIB, 10 * MIB, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ok(quire_mprotect(q, p, 10 * MIB, RW));
	assert_pattern(p, 8 * MIB, 1, 0);
	assert_all(p + 8 * MIB, 2 * MIB, 0);
	assert_ok(quire_close(q));
}

static void dontneed_is_zeros_again(void **state)
{
	static const int advice[] = { MADV_DONTNEED, MADV_FREE };
	struct quire *q = open_swap(4 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 12 * MIB);

	for (int i = 0; i < 2; i++) {
		h_fill(p, 12 * MIB, 1, 0);
		assert_ok(quire_madvise(q, p + MIB, 9 * MIB, advice[i]));
		assert_true(h_stats(q).swap_used <= 3 * MIB);
		assert_pattern(p, MIB, 1, 0);
		assert_all(p + MIB, 9 * MIB, 0);
		assert_pattern(p + 10 * MIB, 2 * MIB, 1, 10 * MIB);
	}
	assert_int_equal(h_stats(q).committed, 12 * MIB);
	assert_ok(quire_close(q));
}

/* PAGEOUT frees memory that nothing else has asked for. */
static void pageout_lets_go(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 4 * MIB), *r = map_anon(q, MIB);

	h_fill(p, 4 * MIB, 1, 0);
	h_fill(r, MIB, 2, 0);
	assert_becomes(h_stats(q).anon, 5 * MIB);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	assert_becomes(h_stats(q).anon, MIB);
	assert_becomes(h_stats(q).swap_used, 4 * MIB);
	assert_int_equal(h_stats(q).swap_write_bytes, 4 * MIB);
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_pattern(r, MIB, 2, 0);
	/* Without a store there is nowhere to go; not an error. */
	assert_ok(quire_close(q));
	q = h_open(16 * MIB, NULL);
	p = map_anon(q, 4 * MIB);
	h_fill(p, 4 * MIB, 1, 0);
	page_out(q, p, 4 * MIB);
	assert_pattern(p, 4 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* What is said to be cold goes before what is not. */
static void cold_goes_first(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 8 * MIB), *r;
	unsigned char vec[8 * MIB / PAGE];
	int hot = 0, cold = 0;

	h_fill(p, 8 * MIB, 1, 0);
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_COLD));
	r = map_anon(q, 9 * MIB);
	h_fill(r, 9 * MIB, 2, 0);
	assert_ok(quire_resident(q, p, 8 * MIB, vec));
	for (size_t i = 0; i < sizeof(vec) / 2; i++) {
		cold += vec[i] & 1;
		hot += vec[i + sizeof(vec) / 2] & 1;
	}
	assert_true(cold < hot);
	assert_pattern(p, 8 * MIB, 1, 0);
	assert_pattern(r, 9 * MIB, 2, 0);
	assert_ok(quire_close(q));
}

static void populate_and_other_advice(void **state)
{
	struct quire *q = open_swap(8 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 4 * MIB);
	unsigned char vec[4 * MIB / PAGE];

	assert_ok(quire_madvise(q, p, MIB, MADV_POPULATE_READ));
	assert_ok(quire_madvise(q, p + MIB, MIB, MADV_POPULATE_WRITE));
	assert_ok(quire_resident(q, p, 4 * MIB, vec));
	for (size_t i = 0; i < 2 * MIB / PAGE; i++)
		assert_int_equal(vec[i] & 3, 3);
	assert_all(p, 4 * MIB, 0);
	h_fill(p, 4 * MIB, 1, 0);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_POPULATE_READ));
	assert_ok(quire_resident(q, p, 4 * MIB, vec));
	for (size_t i = 0; i < 4 * MIB / PAGE; i++)
		assert_int_equal(vec[i], 3); /* clean, as the store has them */
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_RANDOM));
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_SEQUENTIAL));
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_WILLNEED));
	assert_ok(quire_madvise(q, p, 4 * MIB, MADV_NORMAL));
	assert_errno(quire_madvise(q, p, 4 * MIB, 12345), EINVAL);
	assert_pattern(p, 4 * MIB, 1, 0);
	/* More than the budget comes and goes. */
	p = map_anon(q, 16 * MIB);
	assert_ok(quire_madvise(q, p, 16 * MIB, MADV_POPULATE_WRITE));
	assert_all(p, 16 * MIB, 0);
	assert_ok(quire_close(q));
}

static void resident_bits(void **state)
{
	struct quire *q = open_swap(8 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 4 * PAGE);
	unsigned char vec[4];

	assert_ok(quire_madvise(q, p, 4 * PAGE, MADV_RANDOM));
	assert_ok(quire_resident(q, p, 4 * PAGE, vec));
	assert_memory_equal(vec, ((unsigned char[]){ 0, 0, 0, 0 }), 4);
	p[0] = 1;
	assert_int_equal(p[PAGE], 0);
	assert_ok(quire_resident(q, p, 4 * PAGE, vec));
	assert_memory_equal(vec, ((unsigned char[]){ 7, 3, 0, 0 }), 4);
	page_out(q, p, PAGE);
	wait_swapped(q, p, PAGE);
	assert_ok(quire_resident(q, p, 4 * PAGE, vec));
	assert_memory_equal(vec, ((unsigned char[]){ 0, 3, 0, 0 }), 4);
	assert_int_equal(p[0], 1);
	assert_ok(quire_resident(q, p, 4 * PAGE, vec));
	assert_memory_equal(vec, ((unsigned char[]){ 3, 3, 0, 0 }), 4);
	p[0] = 2;
	assert_ok(quire_resident(q, p, 4 * PAGE, vec));
	assert_memory_equal(vec, ((unsigned char[]){ 7, 3, 0, 0 }), 4);
	assert_ok(quire_munmap(q, p + PAGE, PAGE));
	assert_errno(quire_resident(q, p, 4 * PAGE, vec), ENOMEM);
	assert_ok(quire_close(q));
}

/* ---- system calls ---- */

static void system_calls_on_swapped_memory(void **state)
{
	struct quire *q = open_swap(8 * MIB, 32 * MIB);
	int in = h_file("in", 2 * MIB, 2), out = h_sparse("out", 0);
	uint8_t *p = map_anon(q, 4 * MIB);
	size_t len = MIB + 1234;

	h_fill(p, 4 * MIB, 1, 0);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	/* Without a pin the kernel's access does not reach us. */
	assert_errno(pwrite(out, p, PAGE, 0), EFAULT);
	assert_ok(quire_pin(q, p + 321, len, 0));
	assert_true(h_stats(q).pinned >= len);
	assert_int_equal(pwrite(out, p + 321, len, 0), len);
	page_out(q, p, 4 * MIB);
	assert_int_equal(pwrite(out, p + 321, len, (off_t)len), len);
	quire_unpin(q, p + 321, len);
	assert_int_equal(h_stats(q).pinned, 0);

	{
		uint8_t *buf = malloc(2 * len);

		h_file_read(out, buf, 2 * len, 0);
		assert_pattern(buf, len, 1, 321);
		assert_pattern(buf + len, len, 1, 321);
		free(buf);
	}
	/* Into it: the pages are dirty afterwards, and go and come back so. */
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	assert_ok(quire_pin(q, p + MIB, 2 * MIB, QUIRE_PIN_WRITE));
	assert_int_equal(pread(in, p + MIB, 2 * MIB, 0), 2 * MIB);
	quire_unpin(q, p + MIB, 2 * MIB);
	page_out(q, p, 4 * MIB);
	wait_swapped(q, p, 4 * MIB);
	assert_pattern(p, MIB, 1, 0);
	assert_pattern(p + MIB, 2 * MIB, 2, 0);
	assert_pattern(p + 3 * MIB, MIB, 1, 3 * MIB);
	/* And by the library's own calls. */
	{
		struct iovec iov = { p + 3 * MIB, MIB };

		page_out(q, p, 4 * MIB);
		assert_int_equal(quire_preadv(q, in, &iov, 1, MIB), MIB);
		assert_pattern(p + 3 * MIB, MIB, 2, MIB);
		iov.iov_base = p + MIB;
		assert_int_equal(quire_pwritev(q, out, &iov, 1, 0), MIB);
		assert_file_pattern(out, MIB, 2, 0);
	}
	assert_ok(quire_close(q));
}

static void pins_hold_against_all(void **state)
{
	struct quire *q = open_swap(8 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, MIB), *r = map_anon(q, 16 * MIB);
	unsigned char vec[256];

	h_fill(p, MIB, 1, 0);
	assert_ok(quire_pin(q, p, MIB, QUIRE_PIN_WRITE));
	h_fill(r, 16 * MIB, 2, 0);
	page_out(q, p, MIB);
	assert_ok(quire_madvise(q, p, MIB, MADV_COLD));
	assert_pattern(r, 16 * MIB, 2, 0);
	assert_ok(quire_resident(q, p, MIB, vec));
	for (int i = 0; i < 256; i++)
		assert_int_equal(vec[i], 7);
	assert_ok(quire_pin(q, p, PAGE, 0));
	quire_unpin(q, p, PAGE);
	assert_int_equal(h_stats(q).pinned, MIB);
	quire_unpin(q, p, MIB);
	assert_int_equal(h_stats(q).pinned, 0);
	page_out(q, p, MIB);
	wait_swapped(q, p, MIB);
	assert_pattern(p, MIB, 1, 0);
	/* More than there is. */
	assert_errno(quire_pin(q, r, 16 * MIB, 0), ENOMEM);
	assert_int_equal(h_stats(q).pinned, 0);
	assert_ok(quire_close(q));
}

/* ---- budget, counters, processes ---- */

static void the_budget_shrinks_and_grows(void **state)
{
	struct quire *q = open_swap(16 * MIB, 32 * MIB);
	uint8_t *p = map_anon(q, 12 * MIB);

	h_fill(p, 12 * MIB, 1, 0);
	for (int i = 0; i < 10; i++) {
		assert_ok(quire_set_memory(q, (i % 2 ? 16 : 4) * MIB));
		assert_true(h_stats(q).charged <= (i % 2 ? 16 : 4) * MIB);
		assert_pattern(p, 12 * MIB, 1, 0);
	}
	assert_ok(quire_close(q));
	/* What has no place to go stays, and the old budget. */
	q = h_open(16 * MIB, NULL);
	p = map_anon(q, 12 * MIB);
	h_fill(p, 12 * MIB, 1, 0);
	assert_errno(quire_set_memory(q, 4 * MIB), EBUSY);
	assert_int_equal(h_stats(q).memory, 16 * MIB);
	assert_pattern(p, 12 * MIB, 1, 0);
	assert_ok(quire_madvise(q, p, 12 * MIB, MADV_DONTNEED));
	assert_ok(quire_set_memory(q, 4 * MIB));
	assert_ok(quire_close(q));
}

static void counters(void **state)
{
	struct quire *q = open_swap(8 * MIB, 16 * MIB);
	uint8_t *p = map_anon(q, 2 * MIB);
	struct quire_stats s = h_stats(q);

	assert_int_equal(s.committed, 2 * MIB);
	assert_int_equal(s.swap_size, 16 * MIB);
	assert_int_equal(s.anon + s.swap_used + s.faults_zero, 0);
	assert_int_equal(s.mappings, 1);
	h_fill(p, 2 * MIB, 1, 0);
	s = h_stats(q);
	assert_int_equal(s.anon, 2 * MIB);
	assert_true(s.faults_zero > 0 && s.faults_zero <= 512);
	assert_int_equal(s.owned, 0);
	assert_int_equal(s.swap_writes, 0);
	page_out(q, p, MIB);
	wait_swapped(q, p, MIB);
	assert_becomes(h_stats(q).anon, MIB);
	s = h_stats(q);
	assert_int_equal(s.anon, MIB);
	assert_int_equal(s.swap_used, MIB);
	assert_int_equal(s.swap_write_bytes, MIB);
	assert_true(s.swap_writes >= 1 && s.swap_writes <= 256);
	assert_int_equal(s.swap_reads, 0);
	assert_pattern(p, MIB, 1, 0);
	s = h_stats(q);
	assert_int_equal(s.anon, 2 * MIB);
	assert_int_equal(s.swap_read_bytes, MIB);
	assert_int_equal(s.reads + s.writes, 0); /* of files */
	assert_ok(quire_munmap(q, p, 2 * MIB));
	assert_becomes(h_stats(q).anon, 0);
	s = h_stats(q);
	assert_int_equal(s.anon + s.committed + s.swap_used + s.mapped, 0);
	assert_ok(quire_close(q));
}

/* Does any descriptor of this process lead to the store? For the child that execs. */
static const char no_descriptor[] = "for f in /proc/self/fd/*; do case $(readlink $f) in "
				    "*swap*deleted*) exit 9;; esac; done; exit 0";

static void a_child_has_no_part_in_it(void **state)
{
	struct quire *q = open_swap(4 * MIB, 16 * MIB);
	uint8_t *p = map_anon(q, 12 * MIB), byte;
	int status, i;
	pid_t pid;

	h_catch();
	h_fill(p, 12 * MIB, 1, 0);
	pid = fork();
	if (pid == 0) {
		int bad = h_read(p, &byte) != SIGSEGV || h_write(p + 8 * MIB, 1) != SIGSEGV;

		bad += quire_mmap(q, NULL, PAGE, RW, ANON, -1, 0) != MAP_FAILED;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_pattern(p, 12 * MIB, 1, 0);
	for (i = 0; i < 3; i++) {
		pid = fork();
		if (pid == 0) {
			execl("/bin/sh", "sh", "-c", no_descriptor, (char *)NULL);
			_exit(127);
		}
		h_fill(p, 12 * MIB, 2 + (uint64_t)i, 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_pattern(p, 12 * MIB, 2 + (uint64_t)i, 0);
	}
	assert_ok(quire_close(q));
}

/* A child may have a quire, and a store, of its own. */
static void a_child_with_its_own(void **state)
{
	struct quire *q = open_swap(4 * MIB, 16 * MIB);
	uint8_t *p = map_anon(q, 8 * MIB);
	int status;
	pid_t pid;

	h_fill(p, 8 * MIB, 1, 0);
	pid = fork();
	if (pid == 0) {
		struct quire *own = open_swap(4 * MIB, 16 * MIB);
		uint8_t *r = map_anon(own, 8 * MIB);

		h_fill(r, 8 * MIB, 2, 0);
		status = h_differs(r, 8 * MIB, 2, 0) >= 0;
		quire_close(own);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_pattern(p, 8 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeros_at_first),
		cmocka_unit_test(first_access_is_a_write),
		cmocka_unit_test(kept_over_swap_2m),
		cmocka_unit_test(kept_over_swap_5m),
		cmocka_unit_test(kept_over_swap_16m),
		cmocka_unit_test(kept_over_swap_random),
		cmocka_unit_test(many_regions),
		cmocka_unit_test(beside_files),
		cmocka_unit_test(zeros_need_no_slot),
		cmocka_unit_test(one_word_needs_no_slot),
		cmocka_unit_test(clean_pages_are_not_written_again),
		cmocka_unit_test(no_store_is_enomem_at_the_call),
		cmocka_unit_test(what_is_promised_is_kept),
		cmocka_unit_test(noreserve_is_enomem_at_that_page),
		cmocka_unit_test(option_strings),
		cmocka_unit_test(paths_that_cannot_be),
		cmocka_unit_test(no_room_for_the_store),
		cmocka_unit_test(the_store_has_no_name),
		cmocka_unit_test(a_failing_read_is_sigbus_there),
		cmocka_unit_test(a_failing_write_keeps_the_page),
		cmocka_unit_test(shared_is_as_private),
		cmocka_unit_test(arguments),
		cmocka_unit_test(populate_at_once),
		cmocka_unit_test(rights_change_content_stays),
		cmocka_unit_test(rights_before_the_first_touch),
		cmocka_unit_test(munmap_of_the_middle),
		cmocka_unit_test(mremap_grows_shrinks_and_moves),
		cmocka_unit_test(mremap_errors),
		cmocka_unit_test(mremap_under_other_rights),
		cmocka_unit_test(dontneed_is_zeros_again),
		cmocka_unit_test(pageout_lets_go),
		cmocka_unit_test(cold_goes_first),
		cmocka_unit_test(populate_and_other_advice),
		cmocka_unit_test(resident_bits),
		cmocka_unit_test(system_calls_on_swapped_memory),
		cmocka_unit_test(pins_hold_against_all),
		cmocka_unit_test(the_budget_shrinks_and_grows),
		cmocka_unit_test(counters),
		cmocka_unit_test(a_child_has_no_part_in_it),
		cmocka_unit_test(a_child_with_its_own),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
