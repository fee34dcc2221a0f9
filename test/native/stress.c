/* SPDX-License-Identifier: MIT */
/*
 * stress.c - many threads, one file, a small budget: no wrong byte, no hang.
 *
 * The oracle. Every page of the file has SLOTS words that are written during
 * the run, each by one thread alone; the rest keep what they held at first. A
 * word holds a token: where it belongs, and its version. Before its thread
 * writes version v it says issued = v, afterwards done = v. Whoever reads the
 * word, without any lock, through any view, must see a token of this place
 * with done (read before) <= version <= issued (read after). So all threads
 * may be at the same page at once, and every read is checked exactly.
 *
 *   workers   read any word, write their own, through several shared views
 *   mappers   make views, protect, move and drop parts of them
 *   syncer    msync: what was done before is in the file afterwards
 *   adviser   madvise over all of it
 *   budget    shrinks and grows it
 *   private   copies that nobody else may see, or lose
 *   pinner    system calls on pinned memory
 *   filer     preadv and pwritev of the mapped file
 *
 * At the end memory, and after msync the file, equal the shadow word for word.
 * A watchdog ends a run in which a thread makes no progress, and says where.
 * Output: the seed, then TAP.
 */
#include "harness.h"

#include <getopt.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#define RW           (PROT_READ | PROT_WRITE)
#define SLOTS        32
#define SLOT_STRIDE  (PAGE / 8 / SLOTS) /* words between slots: every line of a page */
#define VIEWS        4
#define THREADS_MAX  48
#define HANG_SECONDS 90

static struct quire *q;
static size_t file_len = 48 * MIB;
static uint64_t budget = 16 * MIB;
static int fd = -1;
static uint8_t *view[VIEWS]; /* whole views, the last for reading only */
static _Atomic uint32_t *issued, *done;
static _Atomic bool stop;
static uint64_t seed;
static char file_name[4096];

struct thread {
	pthread_t id;
	const char *role;
	void (*step)(struct thread *t);
	int slot; /* the word of every page that is this thread's */
	uint64_t rnd;
	_Atomic uint64_t steps;
	_Atomic(const char *) doing;
	pid_t tid;
};

static struct thread threads[THREADS_MAX];
static int thread_count;

/* ---- the oracle ---- */

static uint64_t word_offset(uint64_t page, int slot)
{
	/* Not the same word of each page: the whole page is used. */
	return page * PAGE + ((uint64_t)slot * SLOT_STRIDE + page % SLOT_STRIDE) * 8;
}

/* 28 bits of place, 36 of version. */
static uint64_t token(uint64_t offset, uint64_t version)
{
	return (h_word(1, offset) & ~0xfffffffffUL) | version;
}

static uint64_t index_of(uint64_t page, int slot)
{
	return page * SLOTS + (uint64_t)slot;
}

static void wrong(struct thread *t, const char *where, uint64_t offset, uint64_t got, uint32_t low,
		  uint32_t high)
{
	printf("# WRONG: %s %s: offset 0x%lx holds %016lx, not version %u..%u of %016lx "
	       "(seed %lu, doing %s)\n",
	       t ? t->role : "main", where, offset, got, low, high, token(offset, 0), seed,
	       t ? t->doing : "the last check");
	fflush(stdout);
	abort();
}

static void word_check(struct thread *t, const char *where, uint64_t page, int slot, uint64_t got,
		       uint32_t low)
{
	uint32_t high = issued[index_of(page, slot)];
	uint64_t offset = word_offset(page, slot);
	uint64_t version = got & 0xfffffffff;

	if (got != token(offset, version) || version < low || version > high)
		wrong(t, where, offset, got, low, high);
}

/* Through a view that shows the file from view_off on. */
static void word_read(struct thread *t, const char *where, const uint8_t *p, uint64_t view_off,
		      uint64_t page, int slot)
{
	uint32_t low = done[index_of(page, slot)];
	uint64_t got = __atomic_load_n((const uint64_t *)(p + word_offset(page, slot) - view_off),
				       __ATOMIC_ACQUIRE);

	word_check(t, where, page, slot, got, low);
}

static uint64_t word_begin(struct thread *t, uint64_t page)
{
	uint64_t i = index_of(page, t->slot);
	uint32_t version = done[i] + 1;

	issued[i] = version;
	return token(word_offset(page, t->slot), version);
}

static void word_end(struct thread *t, uint64_t page)
{
	uint64_t i = index_of(page, t->slot);

	done[i] = issued[i];
}

static void word_write(struct thread *t, uint8_t *p, uint64_t view_off, uint64_t page)
{
	uint64_t value = word_begin(t, page);

	__atomic_store_n((uint64_t *)(p + word_offset(page, t->slot) - view_off), value,
			 __ATOMIC_RELEASE);
	word_end(t, page);
}

/* ---- the roles ---- */

static uint64_t pages(void)
{
	return file_len / PAGE;
}

/* Where a thread goes: mostly anywhere, often where all others are too. */
static uint64_t some_page(struct thread *t)
{
	uint64_t r = h_random(&t->rnd);

	if (r % 4 == 0)
		return (r >> 8) % 64;
	return (r >> 8) % pages();
}

static void worker_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd), page = some_page(t), i;
	int v = (int)(r % VIEWS);

	t->doing = "access";
	switch ((r >> 8) % 8) {
	case 0:
	case 1: /* write, and see it in another view */
		v %= VIEWS - 1;
		word_write(t, view[v], 0, page);
		word_read(t, "own write", view[(v + 1) % VIEWS], 0, page, t->slot);
		break;
	case 2: /* a run */
		for (i = 0; i < 32; i++)
			word_read(t, "run", view[v], 0, (page + i) % pages(),
				  (int)((r >> 16) % SLOTS));
		break;
	case 3: /* the whole page */
		for (i = 0; i < SLOTS; i++)
			word_read(t, "page", view[v], 0, page, (int)i);
		break;
	default:
		word_read(t, "read", view[v], 0, page, (int)((r >> 16) % SLOTS));
		break;
	}
}

static void mapper_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd), n = 1 + (r >> 8) % 300, first, i;
	uint64_t off, len, cut;
	uint8_t *p;

	if (n > pages())
		n = pages();
	first = (r >> 24) % (pages() - n + 1);
	off = first * PAGE;
	len = n * PAGE;
	t->doing = "mmap";
	p = quire_mmap(q, NULL, len, RW, MAP_SHARED | (r % 16 == 0 ? MAP_POPULATE : 0), fd,
		       (off_t)off);
	CHECK(p != MAP_FAILED);
	t->doing = "access to a new view";
	for (i = 0; i < 20; i++) {
		uint64_t page = first + h_random(&t->rnd) % n;

		if (i % 3 == 0)
			word_write(t, p, off, page);
		word_read(t, "new view", p, off, page, (int)(h_random(&t->rnd) % SLOTS));
	}
	if (n >= 3) {
		cut = 1 + h_random(&t->rnd) % (n - 2);
		t->doing = "mprotect";
		CHECK(quire_mprotect(q, p, cut * PAGE, PROT_READ) == 0);
		word_read(t, "protected view", p, off, first, 0);
		word_write(t, p, off, first + cut);
		CHECK(quire_mprotect(q, p + cut * PAGE, PAGE, PROT_NONE) == 0);
		word_read(t, "protected view", p, off, first + cut + 1, 1);
		CHECK(quire_mprotect(q, p, len, RW) == 0);
		word_write(t, p, off, first + cut);
		if (r % 3 == 0) {
			uint64_t less = len / 2 / PAGE * PAGE + PAGE;
			uint8_t *moved;

			t->doing = "mremap";
			CHECK(quire_mremap(q, p, len, less, 0, NULL) == p);
			moved = quire_mremap(q, p, less, len, MREMAP_MAYMOVE, NULL);
			CHECK(moved != MAP_FAILED);
			p = moved;
			word_read(t, "moved view", p, off, first + n - 1, 2);
			word_write(t, p, off, first);
		}
		if (r % 5 == 0) {
			t->doing = "mmap MAP_FIXED";
			CHECK(quire_mmap(q, p + cut * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd,
					 (off_t)(off + cut * PAGE)) == p + cut * PAGE);
			word_write(t, p, off, first + cut);
		} else {
			/* A hole is anybody's: from here on p is two views. */
			t->doing = "munmap of a part";
			CHECK(quire_munmap(q, p + cut * PAGE, PAGE) == 0);
			word_read(t, "cut view", p, off, first + cut - 1, 3);
			CHECK(quire_munmap(q, p, cut * PAGE) == 0);
			p += (cut + 1) * PAGE;
			off += (cut + 1) * PAGE;
			len -= (cut + 1) * PAGE;
			word_read(t, "cut view", p, off, first + cut + 1, 4);
		}
	}
	t->doing = "munmap";
	CHECK(quire_munmap(q, p, len) == 0);
}

static void syncer_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd), n = 1 + (r >> 8) % 512, first, i;
	uint32_t low[8];
	int slot[8];
	uint64_t page[8];

	if (n > pages())
		n = pages();
	first = (r >> 24) % (pages() - n + 1);
	if (r % 4 == 0) {
		t->doing = "msync MS_ASYNC";
		CHECK(quire_msync(q, view[0] + first * PAGE, n * PAGE, MS_ASYNC) == 0);
		return;
	}
	for (i = 0; i < 8; i++) {
		page[i] = first + h_random(&t->rnd) % n;
		slot[i] = (int)(h_random(&t->rnd) % SLOTS);
		low[i] = done[index_of(page[i], slot[i])];
	}
	t->doing = "msync MS_SYNC";
	CHECK(quire_msync(q, view[r / 4 % VIEWS] + first * PAGE, n * PAGE, MS_SYNC) == 0);
	t->doing = "reading the file";
	for (i = 0; i < 8; i++) {
		uint64_t got;

		CHECK(pread(fd, &got, 8, (off_t)word_offset(page[i], slot[i])) == 8);
		word_check(t, "synced file", page[i], slot[i], got, low[i]);
	}
}

static void adviser_step(struct thread *t)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM,  MADV_SEQUENTIAL,    MADV_WILLNEED,
		MADV_COLD,   MADV_PAGEOUT, MADV_POPULATE_READ, MADV_DONTNEED,
	};
	uint64_t r = h_random(&t->rnd), n = 1 + (r >> 8) % 256, first;
	int a = advice[r % (sizeof(advice) / sizeof(advice[0]))];

	first = (r >> 24) % (pages() - n + 1);
	t->doing = "madvise";
	CHECK(quire_madvise(q, view[(r >> 4) % VIEWS] + first * PAGE, n * PAGE, a) == 0);
	h_sleep_ms(1);
}

static void budget_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd);
	uint64_t m = budget / 2 + r % (budget + budget / 2);

	t->doing = "set_memory";
	/* The pinner and the private copies may be in the way. */
	CHECK(quire_set_memory(q, m) == 0 || errno == EBUSY);
	h_sleep_ms(20);
}

static void private_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd), n = 1 + (r >> 8) % 64, first, i;
	uint8_t *p;

	first = (r >> 24) % (pages() - n + 1);
	t->doing = "mmap MAP_PRIVATE";
	p = quire_mmap(q, NULL, n * PAGE, RW, MAP_PRIVATE, fd, (off_t)(first * PAGE));
	CHECK(p != MAP_FAILED);
	t->doing = "writing private pages";
	for (i = 0; i < n; i += 2)
		memset(p + i * PAGE, (int)(r >> 8 & 0xff), PAGE);
	for (i = 1; i < n; i += 2)
		word_read(t, "private view", p, first * PAGE, first + i, (int)(r % SLOTS));
	h_sleep_ms((int)(r % 8));
	t->doing = "reading private pages";
	for (i = 0; i < n; i += 2)
		CHECK(h_not_all(p + i * PAGE, PAGE, (int)(r >> 8 & 0xff)) == -1);
	for (i = 1; i < n; i += 2)
		word_read(t, "private view", p, first * PAGE, first + i, (int)(r % SLOTS));
	t->doing = "munmap of private pages";
	CHECK(quire_munmap(q, p, n * PAGE) == 0);
}

static void pinner_step(struct thread *t)
{
	static __thread int pipe_fd[2] = { -1, -1 };
	uint64_t r = h_random(&t->rnd), page = some_page(t), value;
	uint8_t buf[PAGE];
	uint32_t low[SLOTS];
	uint8_t *p = view[r % (VIEWS - 1)] + page * PAGE;
	int i;

	if (pipe_fd[0] < 0)
		CHECK(pipe(pipe_fd) == 0);
	if (r % 3) {
		for (i = 0; i < SLOTS; i++)
			low[i] = done[index_of(page, i)];
		t->doing = "pin";
		CHECK(quire_pin(q, p, PAGE, 0) == 0);
		CHECK(write(pipe_fd[1], p, PAGE) == (ssize_t)PAGE);
		quire_unpin(q, p, PAGE);
		CHECK(read(pipe_fd[0], buf, PAGE) == (ssize_t)PAGE);
		for (i = 0; i < SLOTS; i++) {
			memcpy(&value, buf + word_offset(page, i) - page * PAGE, 8);
			word_check(t, "pinned page", page, i, value, low[i]);
		}
	} else {
		/* The kernel writes this thread's own word. */
		value = word_begin(t, page);
		p += word_offset(page, t->slot) - page * PAGE;
		CHECK(write(pipe_fd[1], &value, 8) == 8);
		t->doing = "pin for writing";
		CHECK(quire_pin(q, p, 8, QUIRE_PIN_WRITE) == 0);
		CHECK(read(pipe_fd[0], p, 8) == 8);
		quire_unpin(q, p, 8);
		word_end(t, page);
		word_read(t, "pinned word", view[(r >> 8) % VIEWS], 0, page, t->slot);
	}
}

static void filer_step(struct thread *t)
{
	uint64_t r = h_random(&t->rnd), page = some_page(t), value;
	struct iovec v = { &value, 8 };
	uint32_t low;
	int slot = (int)((r >> 8) % SLOTS);

	if (r % 2) {
		low = done[index_of(page, slot)];
		t->doing = "preadv";
		CHECK(quire_preadv(q, fd, &v, 1, (off_t)word_offset(page, slot)) == 8);
		word_check(t, "preadv", page, slot, value, low);
	} else {
		value = word_begin(t, page);
		t->doing = "pwritev";
		CHECK(quire_pwritev(q, fd, &v, 1, (off_t)word_offset(page, t->slot)) == 8);
		word_end(t, page);
		word_read(t, "pwritten word", view[(r >> 8) % VIEWS], 0, page, t->slot);
	}
}

/* ---- the run ---- */

static void *thread_run(void *arg)
{
	struct thread *t = arg;

	t->tid = (pid_t)syscall(SYS_gettid);
	while (!stop) {
		t->step(t);
		t->steps++;
	}
	return NULL;
}

static void thread_add(const char *role, void (*step)(struct thread *))
{
	struct thread *t = &threads[thread_count];

	t->role = role;
	t->step = step;
	t->slot = thread_count;
	t->rnd = seed * 0x9e3779b97f4a7c15u + (uint64_t)thread_count + 1;
	t->doing = "starting";
	h_random(&t->rnd);
	thread_count++;
}

static void dump(void)
{
	struct quire_stats s = { .size = sizeof(s) };
	char cmd[512];
	int i;

	printf("# HANG (seed %lu); threads:\n", seed);
	for (i = 0; i < thread_count; i++)
		printf("#   %d %-8s %s, %lu steps\n", (int)threads[i].tid, threads[i].role,
		       threads[i].doing, threads[i].steps);
	fflush(stdout);
	snprintf(cmd, sizeof(cmd),
		 "command -v gdb >/dev/null && timeout 100 gdb -p %d -batch "
		 "-ex 'thread apply all bt 14' 2>/dev/null | grep -E '^(Thread|#)' | sed 's/^/# /'",
		 (int)getpid());
	if (system(cmd) != 0)
		printf("# (no backtraces: gdb is not there or may not attach)\n");
	/* Last, because it may hang too. */
	if (quire_stats(q, &s) == 0)
		printf("# charged %lu of %lu, dirty %lu, writeback %lu, pinned %lu, owned %lu\n",
		       s.charged, s.memory, s.dirty, s.writeback, s.pinned, s.owned);
	fflush(stdout);
	abort();
}

/* A second has gone by: has every thread moved within the last HANG_SECONDS? */
static void watch(void)
{
	static uint64_t last[THREADS_MAX];
	static int still[THREADS_MAX];
	int i;

	for (i = 0; i < thread_count; i++) {
		uint64_t now = threads[i].steps;

		still[i] = now == last[i] ? still[i] + 1 : 0;
		last[i] = now;
		if (still[i] >= HANG_SECONDS)
			dump();
	}
}

static void file_make(void)
{
	static uint64_t buf[64 * KIB / 8];
	size_t off, i;

	snprintf(file_name, sizeof(file_name), "%s/quire-stress-XXXXXX",
		 getenv("QUIRE_TEST_DIR") ? getenv("QUIRE_TEST_DIR")
		 : getenv("TMPDIR")       ? getenv("TMPDIR")
					  : "/tmp");
	fd = mkostemp(file_name, O_CLOEXEC);
	if (fd < 0) {
		perror(file_name);
		exit(2);
	}
	/* Nothing is left behind, however this ends. */
	unlink(file_name);
	for (off = 0; off < file_len; off += sizeof(buf)) {
		for (i = 0; i < sizeof(buf) / 8; i++)
			buf[i] = token(off + i * 8, 0);
		CHECK(pwrite(fd, buf, sizeof(buf), (off_t)off) == (ssize_t)sizeof(buf));
	}
}

/* All of it, exactly: nobody writes any more. */
static void check_all(const char *where, const uint64_t *words, uint64_t off, size_t len)
{
	uint64_t i, at;

	for (i = 0; i < len / 8; i++) {
		uint64_t page, in_page, expect = 0;

		at = off + i * 8;
		page = at / PAGE;
		in_page = at % PAGE / 8;
		if (in_page % SLOT_STRIDE == page % SLOT_STRIDE)
			expect = done[index_of(page, (int)(in_page / SLOT_STRIDE))];
		if (words[i] != token(at, expect))
			wrong(NULL, where, at, words[i], (uint32_t)expect, (uint32_t)expect);
	}
}

static void check_file(const char *where)
{
	static uint64_t buf[64 * KIB / 8];
	size_t off;

	for (off = 0; off < file_len; off += sizeof(buf)) {
		CHECK(pread(fd, buf, sizeof(buf), (off_t)off) == (ssize_t)sizeof(buf));
		check_all(where, buf, off, sizeof(buf));
	}
}

static void setup(const char *policy)
{
	struct quire_options o = { .size = sizeof(o), .memory = budget };
	char opts[64];
	int i;

	if (policy) {
		snprintf(opts, sizeof(opts), "retry=%s", policy);
		o.opts = opts;
	}
	file_make();
	issued = calloc(pages() * SLOTS, sizeof(*issued));
	done = calloc(pages() * SLOTS, sizeof(*done));
	CHECK(issued && done);
	q = quire_open(&o);
	if (!q) {
		fprintf(stderr, "quire_open: %s\n", quire_error());
		exit(2);
	}
	for (i = 0; i < VIEWS; i++) {
		view[i] = quire_mmap(q, NULL, file_len, i < VIEWS - 1 ? RW : PROT_READ, MAP_SHARED,
				     fd, 0);
		CHECK(view[i] != MAP_FAILED);
	}
}

static void finish(int seconds)
{
	struct quire_stats s = { .size = sizeof(s) };
	int i;

	stop = true;
	for (i = 0; i < thread_count; i++) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += HANG_SECONDS;
		if (pthread_timedjoin_np(threads[i].id, NULL, &until) != 0)
			dump();
	}
	printf("ok 1 - %d threads for %d s: every read was right, nobody hung\n", thread_count,
	       seconds);
	for (i = 0; i < VIEWS; i++)
		check_all("view at the end", (uint64_t *)view[i], 0, file_len);
	printf("ok 2 - memory equals the shadow\n");
	CHECK(quire_msync(q, view[0], file_len, MS_SYNC) == 0);
	check_file("file after msync");
	printf("ok 3 - the file equals the shadow after msync\n");
	CHECK(quire_stats(q, &s) == 0);
	/* The budget thread never went beyond twice the budget. */
	CHECK(s.charged_max <= 2 * budget);
	CHECK(s.dirty == 0 && s.pinned == 0 && s.owned == 0);
	printf("ok 4 - the budget held, and nothing is left pinned or dirty\n");
	CHECK(quire_close(q) == 0);
	check_file("file after close");
	printf("ok 5 - the file equals the shadow after close\n");
	printf("# faults %lu: minor %lu major %lu write %lu cow %lu spurious %lu\n", s.faults,
	       s.faults_minor, s.faults_major, s.faults_write, s.faults_cow, s.faults_spurious);
	printf("# reads %lu writes %lu evicted %lu refaults %lu stalls %lu lost_reads %lu\n",
	       s.reads, s.writes, s.evicted_pages, s.refaults, s.stalls, s.lost_reads);
	for (i = 0; i < thread_count; i++)
		printf("# %s %lu\n", threads[i].role, threads[i].steps);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end == 'M')
		n *= MIB;
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "policy", required_argument, NULL, 'p' },
		{ "memory", required_argument, NULL, 'm' },
		{ "size", required_argument, NULL, 'z' },
		{ "threads", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	const char *policy = h_retry();
	int seconds = 60, workers = 16, c, i;

	seed = 20261120;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			seconds = atoi(optarg);
			break;
		case 'r':
			seed = number(optarg);
			break;
		case 'p':
			policy = optarg;
			break;
		case 'm':
			budget = number(optarg);
			break;
		case 'z':
			file_len = number(optarg) / (64 * KIB) * (64 * KIB);
			break;
		case 't':
			workers = atoi(optarg);
			break;
		default:
			fprintf(stderr, "usage: stress [--seconds N] [--seed N] [--policy P0..P4] "
					"[--memory BYTES] [--size BYTES] [--threads N]\n");
			return 2;
		}
	}
	if (workers < 1 || workers > SLOTS - 8 || file_len < MIB) {
		fprintf(stderr, "stress: 1 to %d threads, a file of 1 MiB at least\n", SLOTS - 8);
		return 2;
	}
	printf("# seed %lu, %d workers, budget %lu MiB, file %lu MiB, policy %s\n", seed, workers,
	       budget / MIB, file_len / MIB, policy ? policy : "default");
	printf("1..5\n");
	fflush(stdout);

	setup(policy);
	for (i = 0; i < workers; i++)
		thread_add("worker", worker_step);
	thread_add("mapper", mapper_step);
	thread_add("mapper", mapper_step);
	thread_add("syncer", syncer_step);
	thread_add("adviser", adviser_step);
	thread_add("budget", budget_step);
	thread_add("private", private_step);
	thread_add("pinner", pinner_step);
	thread_add("filer", filer_step);
	for (i = 0; i < thread_count; i++)
		CHECK(pthread_create(&threads[i].id, NULL, thread_run, &threads[i]) == 0);
	for (i = 0; i < seconds; i++) {
		h_sleep_ms(1000);
		watch();
	}
	finish(seconds);
	return 0;
}
