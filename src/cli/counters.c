/* SPDX-License-Identifier: MIT */
/* counters.c - see counters.h. */
#include "cli/counters.h"

#include <stdio.h>

#include "base/size.h"

#define COUNTER(name)                                                                              \
	{                                                                                          \
#name, offsetof(struct quire_stats, name)                                          \
	}

const struct counter counters[] = {
	COUNTER(memory),
	COUNTER(charged),
	COUNTER(charged_max),
	COUNTER(metadata),
	COUNTER(cached),
	COUNTER(mapped),
	COUNTER(dirty),
	COUNTER(writeback),
	COUNTER(owned),
	COUNTER(pinned),
	COUNTER(mappings),
	COUNTER(faults),
	COUNTER(faults_minor),
	COUNTER(faults_major),
	COUNTER(faults_write),
	COUNTER(faults_cow),
	COUNTER(faults_spurious),
	COUNTER(faults_error),
	COUNTER(minor_ns),
	COUNTER(minor_ns_count),
	COUNTER(major_ns),
	COUNTER(major_ns_count),
	COUNTER(pages_mapped),
	COUNTER(retries_vma),
	COUNTER(retries_mmap),
	COUNTER(reads),
	COUNTER(read_bytes),
	COUNTER(reads_ahead),
	COUNTER(read_errors),
	COUNTER(writes),
	COUNTER(write_bytes),
	COUNTER(write_errors),
	COUNTER(evicted_pages),
	COUNTER(unmapped_pages),
	COUNTER(refaults),
	COUNTER(activated),
	COUNTER(stalls),
	COUNTER(stall_ns),
	COUNTER(lost_reads),
	COUNTER(throttled),
	COUNTER(anon),
	COUNTER(committed),
	COUNTER(swap_size),
	COUNTER(swap_used),
	COUNTER(faults_zero),
	COUNTER(swap_reads),
	COUNTER(swap_read_bytes),
	COUNTER(swap_writes),
	COUNTER(swap_write_bytes),
	COUNTER(moved_pages),
	{ NULL, 0 },
};

/* A counter that is not listed would be missing in --json: all are 64 bits. */
_Static_assert(sizeof(counters) / sizeof(counters[0]) == sizeof(struct quire_stats) / 8,
	       "counters[] lists every member of struct quire_stats but size");

static void bytes(const char *name, uint64_t v)
{
	char text[SIZE_TEXT_MAX];

	printf("  %-11s %12s\n", name, size_format(text, v));
}

static void count(const char *name, uint64_t v, const char *note)
{
	printf("  %-11s %12lu%s%s\n", name, v, *note ? "  " : "", note);
}

static void timed(const char *name, uint64_t v, uint64_t ns, uint64_t n, const char *note)
{
	if (n)
		printf("  %-11s %12lu  %.1f us each, %s\n", name, v, (double)ns / (double)n / 1e3,
		       note);
	else
		count(name, v, note);
}

static void moved(const char *name, uint64_t n, uint64_t v, uint64_t errors)
{
	char text[SIZE_TEXT_MAX];

	printf("  %-11s %12lu  %s, %lu failed\n", name, n, size_format(text, v), errors);
}

static void print_memory(const struct quire_stats *s)
{
	puts("memory");
	bytes("budget", s->memory);
	bytes("charged", s->charged);
	bytes("peak", s->charged_max);
	bytes("metadata", s->metadata);
	bytes("cached", s->cached);
	bytes("mapped", s->mapped);
	bytes("dirty", s->dirty);
	bytes("writing", s->writeback);
	bytes("private", s->owned);
	bytes("pinned", s->pinned);
	count("mappings", s->mappings, "");
}

static void print_faults(const struct quire_stats *s)
{
	puts("faults");
	count("all", s->faults, "");
	timed("minor", s->faults_minor, s->minor_ns, s->minor_ns_count, "served from memory");
	timed("major", s->faults_major, s->major_ns, s->major_ns_count, "waited for a read");
	count("write", s->faults_write, "first write to a clean page");
	count("copy", s->faults_cow, "private copies made");
	count("spurious", s->faults_spurious, "served by another thread meanwhile");
	count("error", s->faults_error, "ended in SIGBUS or a callback");
	count("pages", s->pages_mapped, "mapped, neighbours too");
	count("retries", s->retries_vma + s->retries_mmap, "");
}

static void print_io(const struct quire_stats *s)
{
	puts("input and output");
	moved("reads", s->reads, s->read_bytes, s->read_errors);
	count("ahead", s->reads_ahead, "of them, not asked for by a fault");
	count("lost", s->lost_reads, "read for a fault and gone before it was mapped");
	moved("writes", s->writes, s->write_bytes, s->write_errors);
}

static void print_reclaim(const struct quire_stats *s)
{
	puts("reclaim");
	count("evicted", s->evicted_pages, "pages");
	count("unmapped", s->unmapped_pages, "pages, to see which come back");
	count("activated", s->activated, "came back, kept");
	count("refaults", s->refaults, "read again soon after");
	timed("stalls", s->stalls, s->stall_ns, s->stalls, "faults that had to make room");
	count("throttled", s->throttled, "faults that waited for write-back");
}

void counters_print(const struct quire_stats *s)
{
	print_memory(s);
	print_faults(s);
	print_io(s);
	print_reclaim(s);
}
