/* SPDX-License-Identifier: MIT */
/*
 * files.c - one measurement of memory-mapped reads or writes of one file.
 *
 *     files make PATH SIZE          write the file
 *     files check PATH SIZE         read it all; JSON with wrong and writes
 *     files run --case ... FILE     measure one case on one side; JSON
 *
 * Run once per measurement, by files.py, in a memory cgroup of its own with a
 * cold page cache. Both sides are the same program: side.h is all that differs.
 *
 * Timed cases (random, zipf, write): threads touch pages until told to stop.
 *     threads start, wait -> base memory is read -> the side opens and maps ->
 *     WARM: touch, with extra threads, until the cache has turned over ->
 *     MEASURE: what is counted -> STOP: sync, close, report
 * Whole cases (sequential, loop, dense, sparse): one thread, counted work.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "datafile.h"
#include "hist.h"
#include "meter.h"
#include "pattern.h"
#include "side.h"

#define WARM_THREADS   32 /* at least so many fill the cache */
#define STACK_BYTES    (128u << 10)
#define WILLNEED       (4ull << 20) /* a window that a program would ask for */
#define PASSES_MAX     64
#define DENSE_REPS     21
#define SPARSE_STEP    64
#define SPARSE_TOUCHES 20000

enum phase { WARM, MEASURE, STOP };

static struct {
	const char *name, *path, *hint, *charge, *disk;
	struct side side;
	bool direct;
	int fd, advice;
	uint64_t size; /* bytes of the file that are used */
	uint64_t seed;
	unsigned int threads;
	unsigned int write_percent;
	double seconds, warm_seconds;
	uint64_t warm_bytes; /* the cache has turned over after so many */
} o = { .threads = 1, .seconds = 4, .warm_seconds = 8, .hint = "none", .fd = -1 };

static struct {
	int phase;
	pthread_barrier_t ready, go;
	struct zipf zipf;
	struct hist hist;
	uint64_t wrong, first_wrong, writes;
	/* The counted window. */
	struct cost from, to;
	struct quire_stats stats_from, stats_to;
	uint64_t accesses;
	double warm_s;
	uint64_t warm_bytes;
	uint64_t base, settle_ns;
	/* One entry per pass or repetition. */
	unsigned int passes;
	uint64_t pass_ns[PASSES_MAX], pass_bytes[PASSES_MAX], forget_ns[PASSES_MAX];
} r;

/* Load one word of the page and compare it with what must be there. */
static inline void touch(uint64_t page, uint64_t *wrong)
{
	const volatile uint64_t *p = (const volatile uint64_t *)(o.side.map + page * PAGE);
	unsigned int slot = content_slot(page);

	if (__builtin_expect(p[slot] != content_word(page, slot), 0)) {
		__atomic_store_n(&r.first_wrong, page, __ATOMIC_RELAXED);
		++*wrong;
	}
}

/* Count one write in the page; nothing may be lost, whatever the threads do. */
static inline void touch_write(uint64_t page, uint64_t *wrong)
{
	uint64_t *p = (uint64_t *)(o.side.map + page * PAGE);

	if (__builtin_expect(__atomic_fetch_add(p, 1, __ATOMIC_RELAXED) >> COUNT_BITS != page, 0)) {
		__atomic_store_n(&r.first_wrong, page, __ATOMIC_RELAXED);
		++*wrong;
	}
}

/* The ceiling: the same page by a read of one page from the device. */
static void touch_direct(uint64_t page, uint64_t *wrong)
{
	_Alignas(PAGE) uint64_t data[PAGE_WORDS];
	unsigned int slot = content_slot(page);

	if (pread(o.fd, data, PAGE, (off_t)(page * PAGE)) != PAGE ||
	    data[slot] != content_word(page, slot))
		++*wrong;
}

static void *toucher(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg;
	uint64_t pages = o.size / PAGE, wrong = 0, writes = 0, last;
	bool zipf = !strcmp(o.name, "zipf");
	struct prng rng;

	prng_init(&rng, o.seed * 4096 + id);
	pthread_barrier_wait(&r.ready);
	pthread_barrier_wait(&r.go);
	last = now_ns();
	for (;;) {
		uint64_t page = zipf ? zipf_page(&r.zipf, &rng) : prng_below(&rng, pages), now;
		int phase;

		if (o.write_percent && prng_below(&rng, 100) < o.write_percent) {
			touch_write(page, &wrong);
			writes++;
		} else if (o.direct) {
			touch_direct(page, &wrong);
		} else {
			touch(page, &wrong);
		}
		now = now_ns();
		phase = __atomic_load_n(&r.phase, __ATOMIC_RELAXED);
		if (phase == MEASURE) {
			if (id >= o.threads) /* it only helped to fill the cache */
				break;
			hist_add(&r.hist, id, now - last);
		} else if (phase == STOP) {
			break;
		}
		last = now;
	}
	__atomic_fetch_add(&r.wrong, wrong, __ATOMIC_RELAXED);
	__atomic_fetch_add(&r.writes, writes, __ATOMIC_RELAXED);
	return NULL;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static void window_begin(void)
{
	side_stats(&o.side, &r.stats_from);
	meter_read(&r.from);
}

static void window_end(void)
{
	meter_read(&r.to);
	side_stats(&o.side, &r.stats_to);
}

static void map_file(void)
{
	if (o.direct)
		return;
	side_open(&o.side);
	side_map(&o.side, o.fd, o.size, o.write_percent > 0, o.advice);
}

static void run_timed(void)
{
	unsigned int n = o.threads > WARM_THREADS ? o.threads : WARM_THREADS;
	pthread_t *threads = calloc(n, sizeof(*threads));
	pthread_attr_t attr;
	struct cost c;
	uint64_t start;

	if (!strcmp(o.name, "zipf"))
		zipf_init(&r.zipf, o.size / PAGE, 0.99);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_barrier_init(&r.ready, NULL, n + 1);
	pthread_barrier_init(&r.go, NULL, n + 1);
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&threads[i], &attr, toucher, (void *)(uintptr_t)i))
			die("cannot start thread %u of %u", i, n);
	pthread_barrier_wait(&r.ready);
	r.base = meter_memory();
	map_file();
	meter_read(&c);
	start = c.read_bytes;
	r.warm_s = (double)c.ns;
	pthread_barrier_wait(&r.go);
	do {
		sleep_ns(5000000);
		meter_read(&r.from);
		r.warm_bytes = r.from.read_bytes - start;
	} while (r.warm_bytes < o.warm_bytes &&
		 (double)r.from.ns - r.warm_s < o.warm_seconds * 1e9);
	r.warm_s = ((double)r.from.ns - r.warm_s) / 1e9;
	__atomic_store_n(&r.phase, MEASURE, __ATOMIC_RELAXED);
	for (unsigned int i = o.threads; i < n; i++)
		pthread_join(threads[i], NULL);
	/* What the threads counted until here is a few accesses too many. */
	memset(&r.hist, 0, sizeof(r.hist));
	window_begin();
	sleep_ns((uint64_t)(o.seconds * 1e9));
	window_end();
	__atomic_store_n(&r.phase, STOP, __ATOMIC_RELAXED);
	r.accesses = hist_count(&r.hist);
	for (unsigned int i = 0; i < o.threads; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

/* Pages [0, n) in order, each timed. ask: MADV_WILLNEED a window ahead. */
static void pass(uint64_t n, bool ask)
{
	uint64_t last = now_ns(), now;

	for (uint64_t page = 0; page < n; page++) {
		uint64_t off = page * PAGE + (page ? WILLNEED : 0);

		if (ask && page * PAGE % WILLNEED == 0 && off < o.size)
			side_advise(&o.side, off, o.size - off < WILLNEED ? o.size - off : WILLNEED,
				    MADV_WILLNEED);
		touch(page, &r.wrong);
		now = now_ns();
		hist_add(&r.hist, 0, now - last);
		last = now;
	}
	r.accesses += n;
}

static void run_sequential(void)
{
	r.base = meter_memory();
	map_file();
	window_begin();
	pass(o.size / PAGE, !strcmp(o.hint, "willneed"));
	window_end();
}

static void direct_block(void *arg, uint64_t page, const uint64_t *data, size_t pages)
{
	for (size_t i = 0; i < pages; i++, page++, data += PAGE_WORDS) {
		unsigned int slot = content_slot(page);

		r.wrong += data[slot] != content_word(page, slot);
	}
}

static void run_direct(void)
{
	r.base = meter_memory();
	window_begin();
	datafile_scan(o.fd, o.size, 1 << 20, 4, direct_block, NULL);
	window_end();
	r.accesses = o.size / PAGE;
}

/* The first two passes fill the cache and show what is read again. */
static void run_loop(void)
{
	uint64_t deadline = 0;

	r.base = meter_memory();
	map_file();
	for (r.passes = 0; r.passes < PASSES_MAX; r.passes++) {
		struct cost a, b;

		if (r.passes == 2) {
			memset(&r.hist, 0, sizeof(r.hist));
			r.accesses = 0;
			window_begin();
			deadline = now_ns() + (uint64_t)(o.seconds * 1e9);
		}
		if (r.passes >= 6 && now_ns() > deadline)
			break;
		meter_read(&a);
		pass(o.size / PAGE, !strcmp(o.hint, "willneed"));
		meter_read(&b);
		r.pass_ns[r.passes] = b.ns - a.ns;
		r.pass_bytes[r.passes] = b.read_bytes - a.read_bytes;
	}
	window_end();
}

/* All in memory and unmapped; touch each page, or one of SPARSE_STEP. */
static void run_cached(bool sparse)
{
	uint64_t pages = o.size / PAGE, step = sparse ? SPARSE_STEP : 1;
	unsigned int reps = DENSE_REPS;

	if (sparse) {
		reps = (unsigned int)(SPARSE_TOUCHES / (pages / step + 1)) + 1;
		reps = reps > PASSES_MAX ? PASSES_MAX : reps;
	}
	r.base = meter_memory();
	map_file();
	for (int i = 0; i < 2; i++)
		for (uint64_t page = 0; page < pages; page++)
			touch(page, &r.wrong);
	window_begin();
	for (r.passes = 0; r.passes < reps; r.passes++) {
		uint64_t a = now_ns(), b;

		side_advise(&o.side, 0, o.size, MADV_DONTNEED);
		b = now_ns();
		for (uint64_t page = 0; page < pages; page += step, r.accesses++)
			touch(page, &r.wrong);
		r.pass_ns[r.passes] = now_ns() - b;
		r.forget_ns[r.passes] = b - a;
	}
	window_end();
}

static void print_list(const char *name, const uint64_t *v, unsigned int n)
{
	printf(", \"%s\": [", name);
	for (unsigned int i = 0; i < n; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)v[i]);
	putchar(']');
}

static void report(uint64_t peak, uint64_t samples)
{
	static const double quantiles[] = { 0.5, 0.99, 0.999, 1 };
	static const char *const names[] = { "p50_ns", "p99_ns", "p999_ns", "max_ns" };
	double seconds = (double)(r.to.ns - r.from.ns) / 1e9;
	const uint64_t *a = (const uint64_t *)&r.stats_from, *b = (const uint64_t *)&r.stats_to;

#define SHOW(name, value) printf(", \"%s\": %llu", name, (unsigned long long)(value))
	printf("{\"case\": \"%s\", \"side\": \"%s\", \"hint\": \"%s\"", o.name,
	       o.direct          ? "direct"
	       : o.side.is_quire ? "quire"
				 : "kernel",
	       o.hint);
	SHOW("threads", o.threads);
	SHOW("accesses", r.accesses);
	printf(", \"seconds\": %.6f, \"per_second\": %.1f", seconds, (double)r.accesses / seconds);
	if (hist_count(&r.hist))
		for (unsigned int i = 0; i < 4; i++)
			printf(", \"%s\": %.0f", names[i], hist_quantile(&r.hist, quantiles[i]));
	SHOW("read_bytes", r.to.read_bytes - r.from.read_bytes);
	SHOW("write_bytes", r.to.write_bytes - r.from.write_bytes);
	SHOW("disk_read", r.to.disk_read - r.from.disk_read);
	SHOW("disk_written", r.to.disk_written - r.from.disk_written);
	printf(", \"cpu_ns_per_access\": %.1f",
	       (double)(r.to.cpu_ns - r.from.cpu_ns) / (double)(r.accesses ? r.accesses : 1));
	SHOW("majflt", r.to.majflt - r.from.majflt);
	SHOW("minflt", r.to.minflt - r.from.minflt);
	printf(", \"warm_s\": %.3f", r.warm_s);
	SHOW("warm_bytes", r.warm_bytes);
	SHOW("settle_ns", r.settle_ns);
	SHOW("wrong", r.wrong);
	SHOW("first_wrong", r.first_wrong);
	SHOW("writes", r.writes);
	SHOW("base", r.base);
	SHOW("peak", peak);
	SHOW("samples", samples);
	if (r.passes) {
		print_list("pass_ns", r.pass_ns, r.passes);
		print_list("pass_bytes", r.pass_bytes, r.passes);
		print_list("forget_ns", r.forget_ns, r.passes);
	}
	if (o.side.is_quire) {
		const struct quire_stats *end = &r.stats_to;
		/* In the order of struct quire_stats, from faults on: counted since. */
		static const char *const counters[] = {
			"faults",         "faults_minor",    "faults_major",   "faults_write",
			"faults_cow",     "faults_spurious", "faults_error",   "minor_ns",
			"minor_ns_count", "major_ns",        "major_ns_count", "pages_mapped",
			"retries_vma",    "retries_mmap",    "reads",          "read_bytes",
			"reads_ahead",    "read_errors",     "writes",         "write_bytes",
			"write_errors",   "evicted_pages",   "unmapped_pages", "refaults",
			"activated",      "stalls",          "stall_ns",       "lost_reads",
			"throttled",
		};
		size_t first = offsetof(struct quire_stats, faults) / 8;

		printf(", \"stats\": {\"memory\": %llu", (unsigned long long)end->memory);
		SHOW("charged", end->charged);
		SHOW("charged_max", end->charged_max);
		SHOW("metadata", end->metadata);
		SHOW("cached", end->cached);
		SHOW("mapped", end->mapped);
		SHOW("dirty", end->dirty);
		for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++)
			SHOW(counters[i], b[first + i] - a[first + i]);
		putchar('}');
	}
#undef SHOW
	puts("}");
}

static void run(void)
{
	uint64_t peak, samples, t;

	o.fd = open(o.path,
		    (o.write_percent ? O_RDWR : O_RDONLY) | O_CLOEXEC | (o.direct ? O_DIRECT : 0));
	if (o.fd < 0)
		die("%s: %s", o.path, strerror(errno));
	meter_open(o.charge, o.disk);
	meter_start();
	if (!strcmp(o.name, "sequential") && o.direct)
		run_direct();
	else if (!strcmp(o.name, "sequential"))
		run_sequential();
	else if (!strcmp(o.name, "loop"))
		run_loop();
	else if (!strcmp(o.name, "dense") || !strcmp(o.name, "sparse"))
		run_cached(!strcmp(o.name, "sparse"));
	else
		run_timed();
	if (!o.direct) {
		t = now_ns();
		if (o.write_percent)
			side_sync(&o.side);
		r.settle_ns = now_ns() - t;
		side_close(&o.side);
	}
	peak = meter_stop(&samples);
	report(peak, samples);
}

static uint64_t number(const char *s)
{
	char *end;
	unsigned long long n = strtoull(s, &end, 10);

	if (end == s || *end)
		die("not a number: %s", s);
	return n;
}

static int advice_of(const char *hint)
{
	if (!strcmp(hint, "random"))
		return MADV_RANDOM;
	if (!strcmp(hint, "sequential"))
		return MADV_SEQUENTIAL;
	if (strcmp(hint, "none") && strcmp(hint, "willneed"))
		die("unknown hint %s", hint);
	return 0;
}

static void run_options(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "case", 1, 0, 'c' },
		{ "side", 1, 0, 's' },
		{ "hint", 1, 0, 'h' },
		{ "size", 1, 0, 'z' },
		{ "memory", 1, 0, 'm' },
		{ "opts", 1, 0, 'o' },
		{ "seed", 1, 0, 'r' },
		{ "threads", 1, 0, 't' },
		{ "writes", 1, 0, 'w' },
		{ "seconds", 1, 0, 'S' },
		{ "warm-bytes", 1, 0, 'b' },
		{ "warm-seconds", 1, 0, 'W' },
		{ "charge", 1, 0, 'g' },
		{ "disk", 1, 0, 'd' },
		{ 0, 0, 0, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case 'c':
			o.name = optarg;
			break;
		case 's':
			o.side.is_quire = !strcmp(optarg, "quire");
			o.direct = !strcmp(optarg, "direct");
			break;
		case 'h':
			o.hint = optarg;
			break;
		case 'z':
			o.size = number(optarg);
			break;
		case 'm':
			o.side.memory = number(optarg);
			break;
		case 'o':
			o.side.opts = optarg;
			break;
		case 'r':
			o.seed = number(optarg);
			break;
		case 't':
			o.threads = (unsigned int)number(optarg);
			break;
		case 'w':
			o.write_percent = (unsigned int)number(optarg);
			break;
		case 'S':
			o.seconds = atof(optarg);
			break;
		case 'b':
			o.warm_bytes = number(optarg);
			break;
		case 'W':
			o.warm_seconds = atof(optarg);
			break;
		case 'g':
			o.charge = optarg;
			break;
		case 'd':
			o.disk = optarg;
			break;
		default:
			die("see the top of bench/files.c");
		}
	}
	o.path = argv[optind];
	o.advice = advice_of(o.hint);
	if (!o.name || !o.path || o.size < PAGE || !o.threads || o.threads > 4000)
		die("run needs --case, --size, a file, and 1 to 4000 threads");
}

int main(int argc, char **argv)
{
	/* Whoever started us is gone: nobody reads the result. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 4 && !strcmp(argv[1], "make")) {
		datafile_make(argv[2], number(argv[3]));
	} else if (argc == 4 && !strcmp(argv[1], "check")) {
		uint64_t wrong, writes;

		datafile_check(argv[2], number(argv[3]), &wrong, &writes);
		printf("{\"wrong\": %llu, \"writes\": %llu}\n", (unsigned long long)wrong,
		       (unsigned long long)writes);
	} else if (argc > 2 && !strcmp(argv[1], "run")) {
		run_options(argc - 1, argv + 1);
		run();
	} else {
		die("use: files make|check PATH SIZE, or files run --case ... FILE");
	}
	return 0;
}
