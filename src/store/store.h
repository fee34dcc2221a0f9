/* SPDX-License-Identifier: MIT */
/*
 * store.h - what a mapping is backed by: where bytes come from and go to.
 *
 * A table of functions, because several kinds live at once. Offsets are bytes,
 * multiples of RT_PAGE; so are lengths; buffers are page aligned; but for the rest of a
 * queued read that came short.
 *   read    fill buf; short only at the end of the data (the caller zeroes the
 *           rest). >= 0 or -errno. May sleep; runs inside the fault handler.
 *   write   at most up to the size; len may end inside a page there. == len or
 *           -errno. May sleep.
 *   sync    make earlier writes durable. 0 or -errno.
 *   size    bytes, now; -errno. A store may shrink and grow behind our back.
 *   file    the machine's file for queued I/O, or NULL: read and write only.
 *   same    is it the same data (one mapping per data)?
 *   upgrade s was opened read-only: take over the right to write from w, which is freed.
 *   close   free it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "rt/rt.h"

struct store;

struct store_ops {
	int64_t (*read)(struct store *s, void *buf, size_t len, uint64_t off);
	int64_t (*write)(struct store *s, const void *buf, size_t len, uint64_t off);
	int (*sync)(struct store *s);
	int64_t (*size)(struct store *s);
	struct rt_file *(*file)(struct store *s, bool write);
	bool (*same)(const struct store *a, const struct store *b);
	void (*upgrade)(struct store *s, struct store *w);
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	bool writable;
};

#endif
