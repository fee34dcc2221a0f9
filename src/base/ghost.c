/* SPDX-License-Identifier: MIT */
/* ghost.c - see ghost.h. */
#include "base/ghost.h"

static uint64_t mix(uint64_t x)
{
	/* The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

size_t ghost_bytes(size_t n)
{
	size_t cells = GHOST_WAYS;

	while (cells < n)
		cells *= 2;
	return cells * sizeof(struct ghost_cell);
}

void ghost_init(struct ghost *g, void *zeroed, size_t bytes)
{
	g->cells = zeroed;
	g->buckets = bytes / (GHOST_WAYS * sizeof(struct ghost_cell));
}

static struct ghost_cell *bucket_of(struct ghost *g, uint64_t hash)
{
	return &g->cells[(hash & (g->buckets - 1)) * GHOST_WAYS];
}

static uint16_t tag_of(uint64_t hash)
{
	uint16_t tag = (uint16_t)(hash >> 48);

	return tag ? tag : 1;
}

void ghost_add(struct ghost *g, uint64_t key, uint32_t now)
{
	if (g->buckets == 0)
		return;
	uint64_t hash = mix(key);
	struct ghost_cell *b = bucket_of(g, hash), *victim = &b[0];

	for (int i = 0; i < GHOST_WAYS; i++) {
		if (b[i].tag == 0 || b[i].tag == tag_of(hash)) {
			victim = &b[i];
			break;
		}
		if ((uint32_t)(now - b[i].time) > (uint32_t)(now - victim->time))
			victim = &b[i];
	}
	victim->time = now;
	victim->tag = tag_of(hash);
}

bool ghost_take(struct ghost *g, uint64_t key, uint32_t now, uint32_t *age)
{
	if (g->buckets == 0)
		return false;
	uint64_t hash = mix(key);
	struct ghost_cell *b = bucket_of(g, hash);

	for (int i = 0; i < GHOST_WAYS; i++) {
		if (b[i].tag != tag_of(hash))
			continue;
		*age = now - b[i].time;
		b[i].tag = 0;
		return true;
	}
	return false;
}
