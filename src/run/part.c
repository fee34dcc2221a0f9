/* SPDX-License-Identifier: MIT */
/* part.c - see part.h. */
#include "run/part.h"

#include <unistd.h>

#include "run/gate.h"

uintptr_t page_up(uintptr_t v)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	return (v + page - 1) & ~(page - 1);
}

bool page_aligned(uintptr_t v)
{
	return v == page_up(v);
}

struct quire *part_owner(void *addr, size_t len)
{
	struct quire *q = gate_quire();
	uintptr_t start = (uintptr_t)addr;

	if (!q || !page_aligned(start) || !len || start + len < start)
		return NULL;
	return range_may_overlap(start, start + len) ? q : NULL;
}

static int each(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native, void *arg,
		bool locked)
{
	uintptr_t at = (uintptr_t)addr, end = at + page_up(len);
	uintptr_t from, to;
	bool found;

	while (at < end) {
		if (!locked)
			range_lock();
		found = range_next(at, end, &from, &to);
		if (!locked)
			range_unlock();
		if (!found)
			from = to = end;
		if (at < from && native && native(q, (void *)at, from - at, arg))
			return -1;
		if (from < to && managed(q, (void *)from, to - from, arg))
			return -1;
		at = to;
	}
	return 0;
}

int part_each_locked(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native,
		     void *arg)
{
	return each(q, addr, len, managed, native, arg, true);
}

int part_apply(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native, void *arg)
{
	sigset_t saved;
	int r;

	gate_enter(&saved);
	r = each(q, addr, len, managed, native, arg, false);
	gate_leave(&saved);
	return r;
}
