/* SPDX-License-Identifier: MIT */
/*
 * hist.h - latencies in log-linear buckets, each less than 0.8 % wide.
 *
 * A fixed number of shards, each with relaxed atomic adds, instead of one
 * histogram a thread: 256 of those would cost more memory than the case that
 * has 256 threads may use.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_TOP_BITS 40 /* 2^40 ns: 18 minutes; longer counts as that */
#define HIST_BUCKETS  ((HIST_TOP_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)
#define HIST_SHARDS   16

struct hist {
	uint32_t n[HIST_SHARDS][HIST_BUCKETS];
};

static inline unsigned int hist_bucket(uint64_t v)
{
	unsigned int e;

	if (v < (1u << HIST_SUB_BITS))
		return (unsigned int)v;
	if (v >> HIST_TOP_BITS)
		return HIST_BUCKETS - 1;
	e = 63 - (unsigned int)__builtin_clzll(v) - HIST_SUB_BITS;
	return (e << HIST_SUB_BITS) + (unsigned int)(v >> e);
}

/* The middle of bucket b, the inverse of hist_bucket() to 0.4 %. */
static inline double hist_value(unsigned int b)
{
	unsigned int e = b >> HIST_SUB_BITS;

	if (e < 2)
		return b;
	e--;
	return (double)((uint64_t)(b - (e << HIST_SUB_BITS)) << e) + (double)((1ull << e) - 1) / 2;
}

static inline void hist_add(struct hist *h, unsigned int shard, uint64_t v)
{
	__atomic_fetch_add(&h->n[shard % HIST_SHARDS][hist_bucket(v)], 1, __ATOMIC_RELAXED);
}

static inline uint64_t hist_at(const struct hist *h, unsigned int b)
{
	uint64_t n = 0;

	for (unsigned int s = 0; s < HIST_SHARDS; s++)
		n += h->n[s][b];
	return n;
}

static inline uint64_t hist_count(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned int b = 0; b < HIST_BUCKETS; b++)
		n += hist_at(h, b);
	return n;
}

/* The value that a fraction q of all samples does not exceed; 0 if there are none. */
static inline double hist_quantile(const struct hist *h, double q)
{
	double want = q * (double)hist_count(h);
	uint64_t seen = 0;

	for (unsigned int b = 0; b < HIST_BUCKETS; b++) {
		seen += hist_at(h, b);
		if (seen && (double)seen >= want)
			return hist_value(b);
	}
	return 0;
}

#endif
