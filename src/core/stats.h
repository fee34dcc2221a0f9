/* SPDX-License-Identifier: MIT */
/*
 * stats.h - the counters of one mm.
 *
 * Each only ever grows and is exact; they are read without a lock, so that two of
 * them need not be of the same moment.
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "rt/rt.h"

struct mm_stats {
	rt_u64 faults, faults_minor, faults_major, faults_write, faults_cow, faults_spurious,
		faults_error;
	rt_u64 minor_ns, minor_ns_count, major_ns, major_ns_count;
	rt_u64 pages_mapped;
	rt_u64 retries_vma, retries_mmap;
	rt_u64 reads, read_bytes, reads_ahead, read_errors;
	rt_u64 writes, write_bytes, write_errors;
	rt_u64 evicted_pages, unmapped_pages, refaults, activated;
	rt_u64 stalls, stall_ns, lost_reads, throttled;
};

#define stat_add(mm, field, n) ((void)rt_add_u64(&(mm)->stats.field, (n), RT_RELAXED))
#define stat_inc(mm, field)    stat_add(mm, field, 1)

#endif
