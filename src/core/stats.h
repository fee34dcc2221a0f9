/* SPDX-License-Identifier: MIT */
/*
 * stats.h - the counters of one mm.
 *
 * Each only ever grows and is exact; they are read without a lock, so that two of
 * them need not be of the same moment. They are kept in shards, by the address of the
 * caller's stack: two CPUs that count the same thing seldom pass a cache line to and fro
 * (some ten counters move in a fault, and each pass costs 50-100 ns).
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "core/config.h"
#include "rt/rt.h"

struct mm_stats {
	rt_u64 faults, faults_minor, faults_major, faults_write, faults_cow, faults_spurious,
		faults_error;
	rt_u64 minor_ns, minor_ns_count, major_ns, major_ns_count;
	rt_u64 pages_mapped;
	rt_u64 retries_vma, retries_mmap;
	rt_u64 reads, read_bytes, reads_ahead, read_errors;
	rt_u64 writes, write_bytes, write_errors;
	rt_u64 faults_zero, swap_reads, swap_read_bytes, swap_writes, swap_write_bytes, moved_pages;
	rt_u64 evicted_pages, unmapped_pages, refaults, activated;
	rt_u64 stalls, stall_ns, lost_reads, throttled;
} __attribute__((aligned(64)));

static inline unsigned stats_shard(void)
{
	/* Threads' stacks lie far apart: mix what differs between them. */
	uintptr_t stack = (uintptr_t)__builtin_frame_address(0) >> 14;

	return (unsigned)(stack * 0x9e3779b97f4a7c15ull >> 60) % CONFIG_STATS_SHARDS;
}

#define stat_add(mm, field, n) rt_count_u64(&(mm)->stats[stats_shard()].field, (n))
/* stat_sum - all shards of a counter. */
#define stat_sum(mm, field)                                                                        \
	({                                                                                         \
		uint64_t sum_ = 0;                                                                 \
		for (unsigned i_ = 0; i_ < CONFIG_STATS_SHARDS; i_++)                              \
			sum_ += rt_load_u64(&(mm)->stats[i_].field, RT_RELAXED);                   \
		sum_;                                                                              \
	})
#define stat_inc(mm, field) stat_add(mm, field, 1)

#endif
