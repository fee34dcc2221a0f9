/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define WARM_THREADS 32 /* at least so many fill the cache */
#define STACK_BYTES  (128u << 10)
#define WILLNEED     (4ull << 20) /* a window that a program would ask for */

enum phase { WARM, MEASURE, STOP };

struct work work = {
	.threads = 1, .seconds = 4, .warm_seconds = 8, .hint = "none", .step = 1, .fd = -1
};
struct result result;

static int phase;
static pthread_barrier_t ready, go;
static struct zipf zipf;
static void (*read_page)(uint64_t page, uint64_t *wrong);

static void touch_page(uint64_t page, uint64_t *wrong)
{
	touch(page, wrong);
}

static void *toucher(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg;
	uint64_t pages = work.size / PAGE, wrong = 0, writes = 0, last;
	bool skewed = !strcmp(work.name, "zipf");
	struct prng rng;

	prng_init(&rng, work.seed * 4096 + id);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&go);
	last = now_ns();
	for (;;) {
		uint64_t page = skewed ? zipf_page(&zipf, &rng) : prng_below(&rng, pages), now;
		int p;

		if (work.write_percent && prng_below(&rng, 100) < work.write_percent) {
			touch_write(page, &wrong);
			writes++;
		} else {
			read_page(page, &wrong);
		}
		now = now_ns();
		p = __atomic_load_n(&phase, __ATOMIC_RELAXED);
		if (p == MEASURE) {
			if (id >= work.threads) /* it only helped to fill the cache */
				break;
			hist_add(&result.hist, id, now - last);
		} else if (p == STOP) {
			break;
		}
		last = now;
	}
	__atomic_fetch_add(&result.wrong, wrong, __ATOMIC_RELAXED);
	__atomic_fetch_add(&result.writes, writes, __ATOMIC_RELAXED);
	return NULL;
}

void sleep_ns(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void window_begin(void)
{
	side_stats(&work.side, &result.stats_from);
	meter_read(&result.from);
}

void window_end(void)
{
	meter_read(&result.to);
	side_stats(&work.side, &result.stats_to);
}

void work_timed(void (*map)(void), void (*read)(uint64_t page, uint64_t *wrong),
		void (*during)(uint64_t ns))
{
	unsigned int n = work.threads > WARM_THREADS ? work.threads : WARM_THREADS;
	pthread_t *threads = calloc(n, sizeof(*threads));
	pthread_attr_t attr;
	struct cost c;
	uint64_t start;

	read_page = read ? read : touch_page;
	if (!strcmp(work.name, "zipf"))
		zipf_init(&zipf, work.size / PAGE, 0.99);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_barrier_init(&ready, NULL, n + 1);
	pthread_barrier_init(&go, NULL, n + 1);
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&threads[i], &attr, toucher, (void *)(uintptr_t)i))
			die("cannot start thread %u of %u", i, n);
	pthread_barrier_wait(&ready);
	result.base = meter_memory();
	map();
	meter_read(&c);
	start = c.read_bytes;
	result.warm_s = (double)c.ns;
	pthread_barrier_wait(&go);
	do {
		sleep_ns(5000000);
		meter_read(&result.from);
		result.warm_bytes = result.from.read_bytes - start;
	} while (result.warm_bytes < work.warm_bytes &&
		 (double)result.from.ns - result.warm_s < work.warm_seconds * 1e9);
	result.warm_s = ((double)result.from.ns - result.warm_s) / 1e9;
	__atomic_store_n(&phase, MEASURE, __ATOMIC_RELAXED);
	for (unsigned int i = work.threads; i < n; i++)
		pthread_join(threads[i], NULL);
	/* What the threads counted until here is a few accesses too many. */
	memset(&result.hist, 0, sizeof(result.hist));
	window_begin();
	(during ? during : sleep_ns)((uint64_t)(work.seconds * 1e9));
	window_end();
	__atomic_store_n(&phase, STOP, __ATOMIC_RELAXED);
	result.accesses = hist_count(&result.hist);
	for (unsigned int i = 0; i < work.threads; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

void work_pass(uint64_t n, bool write, bool ask)
{
	uint64_t last = now_ns(), now;

	for (uint64_t page = 0; page < n; page++) {
		uint64_t off = page * PAGE + (page ? WILLNEED : 0);

		if (ask && page * PAGE % WILLNEED == 0 && off < work.size)
			side_advise(&work.side, off,
				    work.size - off < WILLNEED ? work.size - off : WILLNEED,
				    MADV_WILLNEED);
		if (write)
			touch_write(page, &result.wrong);
		else
			touch(page, &result.wrong);
		now = now_ns();
		hist_add(&result.hist, 0, now - last);
		last = now;
	}
	result.accesses += n;
	result.writes += write ? n : 0;
}

void work_pass_entry(bool write, bool ask)
{
	struct cost a, b;

	meter_read(&a);
	work_pass(work.size / PAGE, write, ask);
	meter_read(&b);
	result.pass_ns[result.passes] = b.ns - a.ns;
	result.pass_bytes[result.passes] = b.read_bytes - a.read_bytes;
	result.passes++;
}

void work_loop(void (*map)(void), bool ask)
{
	uint64_t deadline = 0;

	result.base = meter_memory();
	map();
	while (result.passes < PASSES_MAX) {
		if (result.passes == 2) {
			memset(&result.hist, 0, sizeof(result.hist));
			result.accesses = 0;
			window_begin();
			deadline = now_ns() + (uint64_t)(work.seconds * 1e9);
		}
		if (result.passes >= 6 && now_ns() > deadline)
			break;
		work_pass_entry(false, ask);
	}
	window_end();
}

void work_print(const char *name, uint64_t value)
{
	printf(", \"%s\": %llu", name, (unsigned long long)value);
}

void work_print_list(const char *name, const uint64_t *v, unsigned int n)
{
	printf(", \"%s\": [", name);
	for (unsigned int i = 0; i < n; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)v[i]);
	putchar(']');
}

void work_report(uint64_t peak, uint64_t samples, void (*more)(void))
{
	static const double quantiles[] = { 0.5, 0.99, 0.999, 1 };
	static const char *const names[] = { "p50_ns", "p99_ns", "p999_ns", "max_ns" };
	double seconds = (double)(result.to.ns - result.from.ns) / 1e9;
	const uint64_t *a = (const uint64_t *)&result.stats_from,
		       *b = (const uint64_t *)&result.stats_to;

	printf("{\"case\": \"%s\", \"side\": \"%s\", \"hint\": \"%s\"", work.name, work.kind,
	       work.hint);
	work_print("threads", work.threads);
	work_print("accesses", result.accesses);
	printf(", \"seconds\": %.6f, \"per_second\": %.1f", seconds,
	       (double)result.accesses / seconds);
	if (hist_count(&result.hist))
		for (unsigned int i = 0; i < 4; i++)
			printf(", \"%s\": %.0f", names[i],
			       hist_quantile(&result.hist, quantiles[i]));
	work_print("read_bytes", result.to.read_bytes - result.from.read_bytes);
	work_print("write_bytes", result.to.write_bytes - result.from.write_bytes);
	work_print("disk_read", result.to.disk_read - result.from.disk_read);
	work_print("disk_written", result.to.disk_written - result.from.disk_written);
	printf(", \"cpu_ns_per_access\": %.1f",
	       (double)(result.to.cpu_ns - result.from.cpu_ns) /
		       (double)(result.accesses ? result.accesses : 1));
	work_print("majflt", result.to.majflt - result.from.majflt);
	work_print("minflt", result.to.minflt - result.from.minflt);
	printf(", \"warm_s\": %.3f", result.warm_s);
	work_print("warm_bytes", result.warm_bytes);
	work_print("settle_ns", result.settle_ns);
	work_print("wrong", result.wrong);
	work_print("first_wrong", result.first_wrong);
	work_print("writes", result.writes);
	work_print("base", result.base);
	work_print("peak", peak);
	work_print("samples", samples);
	if (result.passes) {
		work_print_list("pass_ns", result.pass_ns, result.passes);
		work_print_list("pass_bytes", result.pass_bytes, result.passes);
		work_print_list("forget_ns", result.forget_ns, result.passes);
	}
	if (work.side.is_quire) {
		const struct quire_stats *end = &result.stats_to;
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
		static const char *const anon[] = {
			"faults_zero", "swap_reads",       "swap_read_bytes",
			"swap_writes", "swap_write_bytes", "moved_pages",
		};
		size_t first = offsetof(struct quire_stats, faults) / 8;
		size_t first_anon = offsetof(struct quire_stats, faults_zero) / 8;

		printf(", \"stats\": {\"memory\": %llu", (unsigned long long)end->memory);
		work_print("charged", end->charged);
		work_print("charged_max", end->charged_max);
		work_print("metadata", end->metadata);
		work_print("cached", end->cached);
		work_print("mapped", end->mapped);
		work_print("dirty", end->dirty);
		work_print("anon", end->anon);
		work_print("committed", end->committed);
		work_print("swap_size", end->swap_size);
		work_print("swap_used", end->swap_used);
		for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++)
			work_print(counters[i], b[first + i] - a[first + i]);
		for (size_t i = 0; i < sizeof(anon) / sizeof(*anon); i++)
			work_print(anon[i], b[first_anon + i] - a[first_anon + i]);
		putchar('}');
	}
	if (more)
		more();
	puts("}");
}

uint64_t work_number(const char *s)
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

void work_options(int argc, char **argv)
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
		{ "step", 1, 0, 'p' },
		{ "swap-size", 1, 0, 'P' },
		{ 0, 0, 0, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case 'c':
			work.name = optarg;
			break;
		case 's':
			work.kind = optarg;
			work.side.is_quire = !strcmp(optarg, "quire");
			work.direct = !strcmp(optarg, "direct");
			break;
		case 'h':
			work.hint = optarg;
			break;
		case 'z':
			work.size = work_number(optarg);
			break;
		case 'm':
			work.side.memory = work_number(optarg);
			break;
		case 'o':
			work.side.opts = optarg;
			break;
		case 'r':
			work.seed = work_number(optarg);
			break;
		case 't':
			work.threads = (unsigned int)work_number(optarg);
			break;
		case 'w':
			work.write_percent = (unsigned int)work_number(optarg);
			break;
		case 'S':
			work.seconds = atof(optarg);
			break;
		case 'b':
			work.warm_bytes = work_number(optarg);
			break;
		case 'W':
			work.warm_seconds = atof(optarg);
			break;
		case 'g':
			work.charge = optarg;
			break;
		case 'd':
			work.disk = optarg;
			break;
		case 'p':
			work.step = work_number(optarg);
			break;
		case 'P':
			work.side.swap_size = work_number(optarg);
			break;
		default:
			die("see the top of the source");
		}
	}
	work.path = argv[optind];
	work.advice = advice_of(work.hint);
	if (!work.name || !work.kind || !work.path || work.size < PAGE || !work.threads ||
	    work.threads > 4000)
		die("run needs --case, --side, --size, a path, and 1 to 4000 threads");
}
