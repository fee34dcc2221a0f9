/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - which page comes next, and what must be in it.
 *
 * Every sampler is a pure function of a thread's own state: no lock is held and
 * no cache line shared while a page is chosen, so that what is measured is the
 * fault and not the generator. The same seed gives the same pages on every side.
 *
 * A page's content follows from its index: word 0 is (index << COUNT_BITS) +
 * how often it was written, each other word is a hash of its place in the file.
 * One load therefore proves that the right page is there.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define PAGE       4096u
#define PAGE_WORDS 512u
#define COUNT_BITS 24

/* The finaliser of splitmix64: a bijection that scatters. */
static inline uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t content_word(uint64_t page, unsigned int word)
{
	return word ? mix64(page * PAGE_WORDS + word) : page << COUNT_BITS;
}

/* The word of a page that a reader checks: another one in each page. */
static inline unsigned int content_slot(uint64_t page)
{
	return 1 + (unsigned int)((mix64(~page) >> 32) % (PAGE_WORDS - 1));
}

/* xorshift64*: three shifts and a multiplication. state is never 0. */
struct prng {
	uint64_t state;
};

static inline void prng_init(struct prng *r, uint64_t seed)
{
	r->state = mix64(seed) | 1;
}

static inline uint64_t prng_next(struct prng *r)
{
	uint64_t x = r->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	r->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* Uniform in [0, n), n < 2^32: the high half of a product, no division. */
static inline uint64_t prng_below(struct prng *r, uint64_t n)
{
	return ((prng_next(r) >> 32) * n) >> 32;
}

static inline double prng_unit(struct prng *r)
{
	return (double)(prng_next(r) >> 11) * 0x1p-53;
}

/*
 * Zipf ranks in O(1) after Gray et al., "Quickly generating billion-record
 * synthetic databases" (as in YCSB): rank 0 is the most frequent. zipf_page()
 * scatters the ranks over the file by a bijection, so that what is hot is not
 * contiguous and no two ranks share a page.
 */
struct zipf {
	uint64_t n, mask;
	double theta, alpha, zetan, second, eta;
	unsigned int bits;
};

static inline void zipf_init(struct zipf *z, uint64_t n, double theta)
{
	z->n = n;
	z->second = 1 + pow(0.5, theta);
	z->theta = theta;
	z->alpha = 1 / (1 - theta);
	z->zetan = 0;
	for (uint64_t i = 1; i <= n; i++)
		z->zetan += pow(1 / (double)i, theta);
	z->eta = (1 - pow(2 / (double)n, 1 - theta)) / (1 - z->second / z->zetan);
	for (z->bits = 2; (1ull << z->bits) < n; z->bits++)
		;
	z->mask = (1ull << z->bits) - 1;
}

static inline uint64_t zipf_rank(const struct zipf *z, struct prng *r)
{
	double u = prng_unit(r), uz = u * z->zetan;
	uint64_t rank;

	if (uz < 1)
		return 0;
	if (uz < z->second)
		return 1;
	rank = (uint64_t)((double)z->n * pow(z->eta * u - z->eta + 1, z->alpha));
	return rank < z->n ? rank : z->n - 1;
}

static inline uint64_t zipf_page(const struct zipf *z, struct prng *r)
{
	uint64_t x = zipf_rank(z, r);

	/* Each step is a bijection of [0, 2^bits); walk until inside [0, n). */
	do {
		x = (x * 0x9e3779b97f4a7c15ull + 0x1234567) & z->mask;
		x ^= x >> (z->bits / 2 + 1);
		x = (x * 0xbf58476d1ce4e5b9ull) & z->mask;
		x ^= x >> (z->bits / 2);
	} while (x >= z->n);
	return x;
}

#endif
