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
 * random, zipf and write are timed work, as work.h has it; sequential, loop,
 * dense and sparse are whole work. Then: sync, close, report.
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
#include "work.h"

#define DENSE_REPS     21
#define SPARSE_STEP    64
#define SPARSE_TOUCHES 20000

/* The ceiling: the same page by a read of one page from the device. */
static void touch_direct(uint64_t page, uint64_t *wrong)
{
	_Alignas(PAGE) uint64_t data[PAGE_WORDS];
	unsigned int slot = content_slot(page);

	if (pread(work.fd, data, PAGE, (off_t)(page * PAGE)) != PAGE ||
	    data[slot] != content_word(page, slot))
		++*wrong;
}

static void map_file(void)
{
	if (work.direct)
		return;
	side_open(&work.side);
	side_map(&work.side, work.fd, work.size, work.write_percent > 0, work.advice);
}

static bool asks(void)
{
	return !strcmp(work.hint, "willneed");
}

static void run_sequential(void)
{
	result.base = meter_memory();
	map_file();
	window_begin();
	work_pass(work.size / PAGE, false, asks());
	window_end();
}

static void run_direct(void)
{
	result.base = meter_memory();
	window_begin();
	datafile_scan(work.fd, work.size, 1 << 20, 4, datafile_compare, &result.wrong);
	window_end();
	result.accesses = work.size / PAGE;
}

/* All in memory and unmapped; touch each page, or one of SPARSE_STEP. */
static void run_cached(bool sparse)
{
	uint64_t pages = work.size / PAGE, step = sparse ? SPARSE_STEP : 1;
	unsigned int reps = DENSE_REPS;

	if (sparse) {
		reps = (unsigned int)(SPARSE_TOUCHES / (pages / step + 1)) + 1;
		reps = reps > PASSES_MAX ? PASSES_MAX : reps;
	}
	result.base = meter_memory();
	map_file();
	for (int i = 0; i < 2; i++)
		for (uint64_t page = 0; page < pages; page++)
			touch(page, &result.wrong);
	window_begin();
	for (result.passes = 0; result.passes < reps; result.passes++) {
		uint64_t a = now_ns(), b;

		side_advise(&work.side, 0, work.size, MADV_DONTNEED);
		b = now_ns();
		for (uint64_t page = 0; page < pages; page += step, result.accesses++)
			touch(page, &result.wrong);
		result.pass_ns[result.passes] = now_ns() - b;
		result.forget_ns[result.passes] = b - a;
	}
	window_end();
}

static void run(void)
{
	uint64_t peak, samples, t;

	work.fd = open(work.path, (work.write_percent ? O_RDWR : O_RDONLY) | O_CLOEXEC |
					  (work.direct ? O_DIRECT : 0));
	if (work.fd < 0)
		die("%s: %s", work.path, strerror(errno));
	meter_open(work.charge, work.disk);
	meter_start();
	if (!strcmp(work.name, "sequential") && work.direct)
		run_direct();
	else if (!strcmp(work.name, "sequential"))
		run_sequential();
	else if (!strcmp(work.name, "loop"))
		work_loop(map_file, asks());
	else if (!strcmp(work.name, "dense") || !strcmp(work.name, "sparse"))
		run_cached(!strcmp(work.name, "sparse"));
	else
		work_timed(map_file, work.direct ? touch_direct : NULL, NULL);
	if (!work.direct) {
		t = now_ns();
		if (work.write_percent)
			side_sync(&work.side);
		result.settle_ns = now_ns() - t;
		side_close(&work.side);
	}
	peak = meter_stop(&samples);
	work_report(peak, samples, NULL);
}

int main(int argc, char **argv)
{
	/* Whoever started us is gone: nobody reads the result. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 4 && !strcmp(argv[1], "make")) {
		datafile_make(argv[2], work_number(argv[3]));
	} else if (argc == 4 && !strcmp(argv[1], "check")) {
		uint64_t wrong, writes;

		datafile_check(argv[2], work_number(argv[3]), &wrong, &writes);
		printf("{\"wrong\": %llu, \"writes\": %llu}\n", (unsigned long long)wrong,
		       (unsigned long long)writes);
	} else if (argc > 2 && !strcmp(argv[1], "run")) {
		work_options(argc - 1, argv + 1);
		run();
	} else {
		die("use: files make|check PATH SIZE, or files run --case ... FILE");
	}
	return 0;
}
