/* SPDX-License-Identifier: MIT */
/* slab.c - see slab.h. */
#include "core/slab.h"

#include "core/mm.h"

#define CHUNK_HEAD 64

static void **link_of(struct slab *s, void *object)
{
	return (void **)((char *)object + s->object_bytes - sizeof(void *));
}

void slab_init(struct slab *s, struct mm *mm, size_t object_bytes, size_t chunk_bytes)
{
	s->mm = mm;
	s->object_bytes = (object_bytes + 15) & ~(size_t)15;
	s->chunk_bytes = chunk_bytes;
	s->beside_bytes = 0;
	rt_lock_init(&s->lock);
	s->free = NULL;
	s->chunks = NULL;
}

void slab_fini(struct slab *s)
{
	while (s->chunks) {
		void *next = *(void **)s->chunks;
		rt_pages_free(s->chunks, s->chunk_bytes);
		mm_uncharge_metadata(s->mm, s->chunk_bytes);
		s->chunks = next;
	}
	s->free = NULL;
}

/* Needs: s->lock. */
static bool slab_grow(struct slab *s)
{
	char *chunk = rt_pages_alloc(s->chunk_bytes);

	if (!chunk)
		return false;
	mm_charge_metadata(s->mm, s->chunk_bytes);
	*(void **)chunk = s->chunks;
	s->chunks = chunk;
	for (size_t at = CHUNK_HEAD; at + s->object_bytes <= s->chunk_bytes;
	     at += s->object_bytes) {
		*link_of(s, chunk + at) = s->free;
		s->free = chunk + at;
	}
	return true;
}

void *slab_alloc(struct slab *s)
{
	void *object = NULL;

	rt_lock(&s->lock);
	if (s->free || slab_grow(s)) {
		object = s->free;
		s->free = *link_of(s, object);
	}
	rt_unlock(&s->lock);
	if (object && s->beside_bytes)
		mm_charge_metadata(s->mm, s->beside_bytes);
	return object;
}

void slab_free(struct slab *s, void *object)
{
	rt_lock(&s->lock);
	*link_of(s, object) = s->free;
	s->free = object;
	rt_unlock(&s->lock);
	if (s->beside_bytes)
		mm_uncharge_metadata(s->mm, s->beside_bytes);
}
