/* SPDX-License-Identifier: MIT */
/* radix.c - see radix.h. */
#include "core/radix.h"

#include <errno.h>

static struct radix_node *node_of(void *entry)
{
	return (uintptr_t)entry & 1 ? (struct radix_node *)((uintptr_t)entry - 1) : NULL;
}

static void *entry_of(struct radix_node *n)
{
	return n ? (void *)((uintptr_t)n | 1) : NULL;
}

static uint64_t span_of(uint32_t shift)
{
	return shift + RADIX_SHIFT >= 64 ? UINT64_MAX : (1ull << (shift + RADIX_SHIFT)) - 1;
}

void radix_init(struct radix *r, struct slab *nodes)
{
	rt_store_ptr(&r->root, NULL, RT_RELAXED);
	r->nodes = nodes;
}

/* The leaf node that would hold key, or NULL, and then *skip: no key before it has a
 * leaf (0: none at all from here on). Pairs with the release in the writer. */
static struct radix_node *leaf_at(const struct radix *r, uint64_t key, uint64_t *skip)
{
	struct radix_node *n = node_of(rt_load_ptr(&r->root, RT_ACQUIRE));

	*skip = 0;
	if (!n)
		return NULL;
	uint32_t shift = rt_load_u32(&n->shift, RT_RELAXED);
	if (key > span_of(shift))
		return NULL;
	while (shift > 0) {
		n = node_of(rt_load_ptr(&n->slot[(key >> shift) % RADIX_SLOTS], RT_ACQUIRE));
		if (!n) {
			*skip = ((key >> shift) + 1) << shift;
			return NULL;
		}
		shift -= RADIX_SHIFT;
	}
	return n;
}

static struct radix_node *leaf_of(const struct radix *r, uint64_t key)
{
	uint64_t skip;

	return leaf_at(r, key, &skip);
}

void *radix_lookup(const struct radix *r, uint64_t key)
{
	struct radix_node *n = leaf_of(r, key);

	if (!n)
		return NULL;
	void *v = rt_load_ptr(&n->slot[key % RADIX_SLOTS], RT_ACQUIRE);
	return node_of(v) ? NULL : v;
}

unsigned radix_gang(const struct radix *r, uint64_t first, uint64_t end, void **values,
		    uint64_t *keys, unsigned max)
{
	unsigned n = 0;

	for (uint64_t key = first; key < end && n < max;) {
		uint64_t next = (key | (RADIX_SLOTS - 1)) + 1, skip;
		struct radix_node *leaf = leaf_at(r, key, &skip);

		if (!leaf) {
			if (skip <= key)
				break;
			key = skip;
			continue;
		}
		for (; key < next && key < end && n < max; key++) {
			void *v = rt_load_ptr(&leaf->slot[key % RADIX_SLOTS], RT_ACQUIRE);
			if (v && !node_of(v)) {
				values[n] = v;
				keys[n++] = key;
			}
		}
	}
	return n;
}

static struct radix_node *node_new(struct radix *r, uint32_t shift)
{
	struct radix_node *n = slab_alloc(r->nodes);

	if (!n)
		return NULL;
	rt_note_live(n, sizeof(*n));
	rt_store_u32(&n->shift, shift, RT_RELAXED);
	n->used = 0;
	for (unsigned i = 0; i < RADIX_SLOTS; i++)
		rt_store_ptr(&n->slot[i], NULL, RT_RELAXED);
	return n;
}

static bool grow_to(struct radix *r, uint64_t key)
{
	struct radix_node *root = node_of(rt_load_ptr(&r->root, RT_RELAXED));

	if (!root) {
		uint32_t shift = 0;
		while (key > span_of(shift))
			shift += RADIX_SHIFT;
		root = node_new(r, shift);
		if (!root)
			return false;
		rt_store_ptr(&r->root, entry_of(root), RT_RELEASE);
	}
	while (key > span_of(rt_load_u32(&root->shift, RT_RELAXED))) {
		struct radix_node *up =
			node_new(r, rt_load_u32(&root->shift, RT_RELAXED) + RADIX_SHIFT);
		if (!up)
			return false;
		rt_store_ptr(&up->slot[0], entry_of(root), RT_RELAXED);
		up->used = 1;
		root = up;
		rt_store_ptr(&r->root, entry_of(root), RT_RELEASE);
	}
	return true;
}

/* The leaf for key, made if need be; NULL: no memory (empty nodes may remain). */
static struct radix_node *leaf_make(struct radix *r, uint64_t key)
{
	if (!grow_to(r, key))
		return NULL;
	struct radix_node *n = node_of(rt_load_ptr(&r->root, RT_RELAXED));
	for (uint32_t shift = rt_load_u32(&n->shift, RT_RELAXED); shift > 0; shift -= RADIX_SHIFT) {
		rt_ptr *slot = &n->slot[(key >> shift) % RADIX_SLOTS];
		struct radix_node *child = node_of(rt_load_ptr(slot, RT_RELAXED));
		if (!child) {
			child = node_new(r, shift - RADIX_SHIFT);
			if (!child)
				return NULL;
			n->used++;
			rt_store_ptr(slot, entry_of(child), RT_RELEASE);
		}
		n = child;
	}
	return n;
}

/* Free the nodes on the way to key that have become empty, from the leaf up. */
static void prune(struct radix *r, uint64_t key)
{
	for (;;) {
		struct radix_node *n = node_of(rt_load_ptr(&r->root, RT_RELAXED));
		rt_ptr *slot = &r->root;
		struct radix_node *parent = NULL;

		if (!n || key > span_of(rt_load_u32(&n->shift, RT_RELAXED)))
			return;
		for (uint32_t shift = rt_load_u32(&n->shift, RT_RELAXED); shift > 0 && n->used > 0;
		     shift -= RADIX_SHIFT) {
			rt_ptr *down = &n->slot[(key >> shift) % RADIX_SLOTS];
			struct radix_node *child = node_of(rt_load_ptr(down, RT_RELAXED));
			if (!child)
				return;
			parent = n;
			slot = down;
			n = child;
		}
		if (n->used > 0)
			return;
		rt_store_ptr(slot, NULL, RT_RELEASE);
		if (parent)
			parent->used--;
		rt_note_free(n, sizeof(*n));
		slab_free(r->nodes, n);
		if (!parent)
			return;
	}
}

static void store_run(struct radix_node *leaf, uint64_t key, uint64_t n, void *value)
{
	for (uint64_t k = key; k < key + n; k++) {
		rt_ptr *slot = &leaf->slot[k % RADIX_SLOTS];
		void *old = rt_load_ptr(slot, RT_RELAXED);
		leaf->used += (value != NULL) - (old != NULL);
		rt_store_ptr(slot, value, RT_RELEASE);
	}
}

int radix_store(struct radix *r, uint64_t key, uint64_t n, void *value)
{
	uint64_t at, end = key + n;

	/* First every leaf, so that what follows cannot fail half way. */
	for (at = key; value && at < end; at = (at | (RADIX_SLOTS - 1)) + 1) {
		if (leaf_make(r, at))
			continue;
		for (; at >= key; at -= RADIX_SLOTS) {
			prune(r, at);
			if (at < key + RADIX_SLOTS)
				break;
		}
		return -ENOMEM;
	}
	for (at = key; at < end;) {
		uint64_t next = (at | (RADIX_SLOTS - 1)) + 1;
		uint64_t run = (next < end ? next : end) - at;
		struct radix_node *leaf = leaf_of(r, at);
		if (leaf) {
			store_run(leaf, at, run, value);
			if (leaf->used == 0)
				prune(r, at);
		}
		at = next;
	}
	return 0;
}
