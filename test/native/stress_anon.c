/* SPDX-License-Identifier: MIT */
/*
 * stress_anon.c - many threads, four regions of anonymous memory, a small budget: no wrong
 * byte, no hang.
 *
 * The content is in chunks of 1 to 512 pages. Each chunk lies somewhere in a slot of one of
 * the regions, and is moved from slot to slot. In each page every worker has a word of its
 * own, with a token: which word it is, and its version. The oracle is that of stress.c: a
 * read must see a version between what was done before it and what was issued after it.
 *
 *   workers   read any word, wherever its chunk is, without a lock; write their own, with
 *             the chunk held where it is
 *   mover     takes a chunk to a free slot of another region, in one piece or several
 *   budget    shrinks and grows it
 *   forker    forks, and execs
 *   adviser   madvise over chunks and free slots
 *
 * A reader that is too late looks where the chunk was: it finds zeros, or another chunk; it
 * must then find that the chunk has moved. (Its zeros are in the next mover's way.)
 *
 * A watchdog ends a run in which a thread makes no progress. Output: the seed, then TAP.
 */
#include "harness.h"

#include <getopt.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#define RW           (PROT_READ | PROT_WRITE)
#define WORKERS      8
#define REGIONS      4
#define SLOTS        12  /* of each region */
#define SLOT_PAGES   530 /* so that no two begin alike in their tables */
#define CHUNKS       32
#define CHUNK_MOST   512
#define THREADS      (WORKERS + 4)
#define HANG_SECONDS 90

struct chunk {
	pthread_rwlock_t hold; /* for reading: it stays where it is */
	_Atomic(uint8_t *) at;
	_Atomic uint64_t moves; /* odd: under way */
	int slot;               /* mover only */
	size_t pages;           /* (c) */
	_Atomic uint32_t *issued, *done;
};

struct thread {
	pthread_t id;
	const char *role;
	void (*step)(struct thread *t);
	int word; /* of each page, a worker's own */
	uint64_t rnd;
	_Atomic uint64_t steps;
	uint64_t late; /* reads that came after a move */
};

static struct quire *q;
static uint64_t budget = 12 * MIB, seed = 20261127;
static uint8_t *region[REGIONS];
static bool taken[REGIONS * SLOTS]; /* mover only */
static struct chunk chunks[CHUNKS];
static struct thread threads[THREADS];
static int thread_count;
static _Atomic bool stop;

/* ---- the oracle ---- */

static uint64_t token(int chunk, size_t page, int word, uint64_t version)
{
	uint64_t place = ((uint64_t)chunk * CHUNK_MOST + page) * WORKERS + (uint64_t)word;

	return (h_word(seed, place * 8) & ~0xfffffffffUL) | 1UL << 63 | version;
}

static uint64_t *word_at(uint8_t *at, size_t page, int word)
{
	return (uint64_t *)(at + page * PAGE) + (size_t)word * 64 + page % 64;
}

static void wrong(const char *who, int chunk, size_t page, int word, uint64_t got, uint32_t low,
		  uint32_t high)
{
	printf("# WRONG: %s: chunk %d page %zu word %d holds %016lx, not version %u..%u of %016lx "
	       "(seed %lu)\n",
	       who, chunk, page, word, got, low, high, token(chunk, page, word, 0), seed);
	fflush(stdout);
	abort();
}

static void read_word(struct thread *t, int chunk, size_t page, int word)
{
	struct chunk *c = &chunks[chunk];
	size_t i = page * WORKERS + (size_t)word;

	for (unsigned tries = 1;; tries++) {
		uint64_t moves = c->moves;
		uint8_t *at = c->at;
		uint32_t low = c->done[i];
		uint64_t got = __atomic_load_n(word_at(at, page, word), __ATOMIC_ACQUIRE);
		uint32_t high = c->issued[i];
		uint64_t version = got & 0xfffffffff;

		if (got == token(chunk, page, word, version) && version >= low && version <= high)
			return;
		if (c->moves == moves && moves % 2 == 0)
			wrong(t->role, chunk, page, word, got, low, high);
		t->late++;            /* it has moved meanwhile */
		if (tries % 4 == 0) { /* enough of looking on */
			pthread_rwlock_rdlock(&c->hold);
			pthread_rwlock_unlock(&c->hold);
		}
	}
}

static void write_word(struct thread *t, int chunk, size_t page)
{
	struct chunk *c = &chunks[chunk];
	size_t i = page * WORKERS + (size_t)t->word;
	uint32_t version = c->done[i] + 1;

	pthread_rwlock_rdlock(&c->hold);
	c->issued[i] = version;
	__atomic_store_n(word_at(c->at, page, t->word), token(chunk, page, t->word, version),
			 __ATOMIC_RELEASE);
	c->done[i] = version;
	pthread_rwlock_unlock(&c->hold);
}

/* ---- threads ---- */

static uint64_t pick(struct thread *t, uint64_t n)
{
	return h_random(&t->rnd) % n;
}

static void worker_step(struct thread *t)
{
	int chunk = (int)pick(t, CHUNKS);
	size_t page = pick(t, chunks[chunk].pages);

	if (pick(t, 3) == 0)
		write_word(t, chunk, page);
	else
		read_word(t, chunk, page, (int)pick(t, WORKERS));
}

static uint8_t *slot_start(int slot)
{
	return region[slot / SLOTS] + (size_t)(slot % SLOTS) * SLOT_PAGES * PAGE;
}

/* All of it, or in pieces; what a late reader has left at dst makes way. */
static void move_pages(uint8_t *dst, uint8_t *src, size_t len, size_t piece)
{
	size_t done = 0, moved;

	while (done < len) {
		size_t n = len - done < piece ? len - done : piece;
		int r = quire_move(q, dst + done, src + done, n, 0, &moved);

		CHECK(r == 0 || errno == EEXIST || (errno == EINVAL && n > PAGE));
		CHECK(moved <= n && (r != 0 || moved == n));
		done += moved;
		if (r != 0 && errno == EINVAL)
			piece = PAGE; /* advice has parted the mapping there */
		else if (r != 0)
			CHECK(quire_madvise(q, dst + done, len - done, MADV_DONTNEED) == 0);
	}
}

static void mover_step(struct thread *t)
{
	struct chunk *c = &chunks[pick(t, CHUNKS)];
	int slot = (int)pick(t, REGIONS * SLOTS), old = c->slot;
	size_t len = c->pages * PAGE, piece = (1 + pick(t, 2 * c->pages)) * PAGE;
	uint8_t *from = c->at, *to;

	if (taken[slot])
		return;
	to = slot_start(slot) + pick(t, SLOT_PAGES - c->pages) * PAGE;
	pthread_rwlock_wrlock(&c->hold);
	c->moves++;
	move_pages(to, from, len, piece);
	c->at = to;
	c->moves++;
	pthread_rwlock_unlock(&c->hold);
	c->slot = slot;
	taken[slot] = true;
	taken[old] = false;
}

static void budget_step(struct thread *t)
{
	uint64_t memory = budget / 2 + pick(t, budget);

	CHECK(quire_set_memory(q, memory) == 0 || errno == EBUSY);
	h_sleep_ms(20);
}

static void forker_step(struct thread *t)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(9);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	h_sleep_ms(50);
}

static void adviser_step(struct thread *t)
{
	static const int advice[] = { MADV_PAGEOUT, MADV_COLD,       MADV_WILLNEED,
				      MADV_RANDOM,  MADV_SEQUENTIAL, MADV_NORMAL };
	uint8_t *at = slot_start((int)pick(t, REGIONS * SLOTS));

	CHECK(quire_madvise(q, at, (1 + pick(t, SLOT_PAGES)) * PAGE, advice[pick(t, 6)]) == 0);
	h_sleep_ms(5);
}

static void *thread_run(void *arg)
{
	struct thread *t = arg;

	while (!stop) {
		t->step(t);
		t->steps++;
	}
	return NULL;
}

static void thread_add(const char *role, void (*step)(struct thread *t))
{
	struct thread *t = &threads[thread_count];

	*t = (struct thread){ .role = role,
			      .step = step,
			      .word = thread_count,
			      .rnd = h_word(seed, (uint64_t)thread_count * 8) | 1 };
	thread_count++;
}

static void dump(void)
{
	printf("# HANG: no progress for %d s (seed %lu)\n", HANG_SECONDS, seed);
	for (int i = 0; i < thread_count; i++)
		printf("# %s %d: %lu steps\n", threads[i].role, i, threads[i].steps);
	fflush(stdout);
	abort();
}

/* Once a second. */
static void watch(void)
{
	static uint64_t before[THREADS];
	static int still[THREADS];

	for (int i = 0; i < thread_count; i++) {
		still[i] = threads[i].steps == before[i] ? still[i] + 1 : 0;
		before[i] = threads[i].steps;
		if (still[i] >= HANG_SECONDS)
			dump();
	}
}

/* ---- the run ---- */

static void check_all(void)
{
	for (int n = 0; n < CHUNKS; n++) {
		struct chunk *c = &chunks[n];

		for (size_t page = 0; page < c->pages; page++) {
			for (int word = 0; word < WORKERS; word++) {
				uint32_t version = c->done[page * WORKERS + (size_t)word];
				uint64_t got = *word_at(c->at, page, word);

				if (got != token(n, page, word, version))
					wrong("the end", n, page, word, got, version, version);
			}
		}
	}
}

static void setup(const char *policy, const char *more)
{
	struct quire_options o = { .size = sizeof(o), .memory = budget };
	size_t len = (size_t)SLOTS * SLOT_PAGES * PAGE;
	uint64_t rnd = seed | 1;
	char opts[256];

	snprintf(opts, sizeof(opts), "swap=stress-swap-%d,swap_size=%zu%s%s%s%s", (int)getpid(),
		 REGIONS * len, policy ? ",retry=" : "", policy ? policy : "", more ? "," : "",
		 more ? more : "");
	o.opts = opts;
	q = quire_open(&o);
	if (!q) {
		fprintf(stderr, "quire_open: %s\n", quire_error());
		exit(2);
	}
	for (int i = 0; i < REGIONS; i++) {
		region[i] = quire_mmap(q, NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(region[i] != MAP_FAILED);
	}
	for (int n = 0; n < CHUNKS; n++) {
		struct chunk *c = &chunks[n];

		CHECK(pthread_rwlock_init(&c->hold, NULL) == 0);
		c->pages = n % 8 == 0 ? 1 + h_random(&rnd) % 40 : 1 + h_random(&rnd) % CHUNK_MOST;
		c->slot = n;
		c->at = slot_start(n);
		taken[n] = true;
		c->issued = calloc(c->pages * WORKERS, sizeof(*c->issued));
		c->done = calloc(c->pages * WORKERS, sizeof(*c->done));
		CHECK(c->issued && c->done);
		for (size_t page = 0; page < c->pages; page++)
			for (int word = 0; word < WORKERS; word++)
				*word_at(c->at, page, word) = token(n, page, word, 0);
	}
}

static void finish(int seconds)
{
	struct quire_stats s = { .size = sizeof(s) };
	uint64_t late = 0;

	stop = true;
	for (int i = 0; i < thread_count; i++) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += HANG_SECONDS;
		if (pthread_timedjoin_np(threads[i].id, NULL, &until) != 0)
			dump();
		late += threads[i].late;
	}
	printf("ok 1 - %d threads for %d s: every read was right, nobody hung\n", thread_count,
	       seconds);
	check_all();
	printf("ok 2 - memory equals the shadow\n");
	CHECK(quire_stats(q, &s) == 0);
	CHECK(s.charged_max <= 2 * budget && s.pinned == 0);
	CHECK(s.write_errors + s.read_errors + s.faults_error == 0);
	printf("ok 3 - the budget held, nothing is pinned, nothing failed\n");
	for (int i = 0; i < REGIONS; i++)
		CHECK(quire_munmap(q, region[i], (size_t)SLOTS * SLOT_PAGES * PAGE) == 0);
	CHECK(quire_stats(q, &s) == 0);
	CHECK(s.anon + s.committed + s.mapped == 0);
	CHECK(quire_close(q) == 0);
	printf("ok 4 - all of it is given back\n");
	printf("# faults %lu: minor %lu major %lu zero %lu write %lu; late reads %lu\n", s.faults,
	       s.faults_minor, s.faults_major, s.faults_zero, s.faults_write, late);
	printf("# swap in %lu MiB, out %lu MiB; moved pages %lu, evicted %lu, lost_reads %lu\n",
	       s.swap_read_bytes / MIB, s.swap_write_bytes / MIB, s.moved_pages, s.evicted_pages,
	       s.lost_reads);
	for (int i = 0; i < thread_count; i++)
		printf("# %s %lu\n", threads[i].role, threads[i].steps);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "policy", required_argument, NULL, 'p' },
		{ "opts", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	const char *policy = h_retry(), *more = getenv("QUIRE_TEST_OPTS");
	int seconds = 60, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			seconds = atoi(optarg);
			break;
		case 'r':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			policy = optarg;
			break;
		case 'o':
			more = optarg;
			break;
		default:
			fprintf(stderr, "usage: stress_anon [--seconds N] [--seed N] "
					"[--policy P0..P4] [--opts K=V,...]\n");
			return 2;
		}
	}
	printf("# seed %lu, %d workers, budget %lu MiB, policy %s, options %s\n", seed, WORKERS,
	       budget / MIB, policy ? policy : "default", more ? more : "none");
	printf("1..4\n");
	fflush(stdout);

	setup(policy, more);
	for (int i = 0; i < WORKERS; i++)
		thread_add("worker", worker_step);
	thread_add("mover", mover_step);
	thread_add("budget", budget_step);
	thread_add("forker", forker_step);
	thread_add("adviser", adviser_step);
	for (int i = 0; i < thread_count; i++)
		CHECK(pthread_create(&threads[i].id, NULL, thread_run, &threads[i]) == 0);
	for (int i = 0; i < seconds; i++) {
		h_sleep_ms(1000);
		watch();
	}
	finish(seconds);
	return 0;
}
