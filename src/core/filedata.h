/* SPDX-License-Identifier: MIT */
/*
 * filedata.h - read(2), write(2) and ftruncate(2) on a file that is mapped.
 *
 * A write goes to the store first and then into what is cached, while every cached
 * folio of the range is locked: no write-back can carry the old bytes over the new,
 * and no fault can map a page between the two. A folio that appears meanwhile (its
 * read may have seen the old bytes) is patched when its read is done.
 */
#ifndef CORE_FILEDATA_H
#define CORE_FILEDATA_H

#include "core/mapping.h"

#define FILEDATA_CHUNK (64 * RT_PAGE) /* the most that one filedata_write() takes */

/* filedata_write - put(arg, off, len) writes to the store and returns bytes or
 * -errno; what it wrote is then fetched with get(arg, off, buf, len) into the cache.
 * len <= FILEDATA_CHUNK. Returns put's result. Sleeps. Needs: m held, no lock. */
struct filedata_source {
	int64_t (*put)(void *arg, uint64_t off, uint64_t len);
	void (*get)(void *arg, uint64_t off, void *buf, uint64_t len);
	void *arg;
};
int64_t filedata_write(struct mapping *m, uint64_t off, uint64_t len,
		       const struct filedata_source *src);

#endif
