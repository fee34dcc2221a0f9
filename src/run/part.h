/* SPDX-License-Identifier: MIT */
/*
 * part.h - a range of addresses that may be quire's in part.
 *
 *     struct quire *q = part_owner(addr, len);
 *     if (!q)
 *             return REAL(msync)(addr, len, flags);
 *     return part_apply(q, addr, len, sync_managed, sync_native, &flags);
 *
 * Each part of [addr, addr+len) goes to its owner, in order, until one fails
 * (-1 with errno, as the calls themselves). Lengths are rounded up to pages, as
 * all these system calls do.
 */
#ifndef QUIRE_RUN_PART_H
#define QUIRE_RUN_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quire;

typedef int (*part_fn)(struct quire *q, void *addr, size_t len, void *arg);

/* part_owner - the quire, NULL when all is surely the kernel's, or malformed. */
struct quire *part_owner(void *addr, size_t len);

/*
 * part_apply - for calls that leave the set of ranges alone. Takes the range lock
 * for each look only: the set may change between two parts, as it may with the
 * kernel.
 */
int part_apply(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native, void *arg);

/*
 * part_each_locked - for calls that change the set. native NULL: those parts are
 * skipped. Needs: inside the gate, the range lock.
 */
int part_each_locked(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native,
		     void *arg);

uintptr_t page_up(uintptr_t v);
bool page_aligned(uintptr_t v);

#endif
