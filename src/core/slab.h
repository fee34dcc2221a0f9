/* SPDX-License-Identifier: MIT */
/*
 * slab.h - objects of one size whose memory never becomes anything else.
 *
 * A freed object may be handed out again at once, but until slab_fini() it is an
 * object of the same kind: a reader that follows a stale pointer finds a folio (or
 * a node) that may be another one, takes a reference, and re-checks identity. That
 * is what lets the page cache be read without a lock.
 *
 * The free list runs through the last word of an object: nothing that a stale reader
 * looks at (locks, counts, identity) may be there.
 *
 * Field key: (c) constant   (L) lock
 */
#ifndef CORE_SLAB_H
#define CORE_SLAB_H

#include "rt/rt.h"

struct mm;

struct slab {
	struct mm *mm;       /* (c) is charged for the chunks */
	size_t object_bytes; /* (c) */
	size_t chunk_bytes;  /* (c) */
	size_t beside_bytes; /* (c) that the machine pays for each object in use */
	struct rt_lock lock;
	void *free;   /* (L) linked through their last 8 bytes */
	void *chunks; /* (L) linked through their first 8 bytes */
};

void slab_init(struct slab *s, struct mm *mm, size_t object_bytes, size_t chunk_bytes);
/* slab_fini - give all memory back. Needs: nobody can reach an object any more. */
void slab_fini(struct slab *s);
/* slab_alloc - an object with old content, zero the first time; NULL: no memory. */
void *slab_alloc(struct slab *s);
void slab_free(struct slab *s, void *object);

#endif
