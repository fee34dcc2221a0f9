/* SPDX-License-Identifier: MIT */
/*
 * region.c - calls on what is mapped: rights, advice, msync(2), mincore(2), and
 * mlock(2), which is refused.
 */
#include <errno.h>

#include "run/gate.h"
#include "run/part.h"
#include "run/real.h"

/* ---- rights, advice, sync ---- */

static int protect_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	if (*(int *)arg & PROT_EXEC) { /* as if the system did not allow it */
		errno = EACCES;
		return -1;
	}
	return quire_mprotect(q, addr, len, *(int *)arg);
}

static int protect_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(mprotect)(addr, len, *(int *)arg);
}

WRAP int mprotect(void *addr, size_t len, int prot)
{
	struct quire *q = part_owner(addr, len);

	if (!q)
		return REAL(mprotect)(addr, len, prot);
	return part_apply(q, addr, len, protect_managed, protect_native, &prot);
}

/*
 * Advice that quire does not know. What concerns huge pages, merging or core
 * dumps has nothing to act on here, and is no reason for a program to fail.
 */
static bool moot(int advice)
{
	switch (advice) {
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_DONTFORK:
		return true;
	}
	return false;
}

static int advise_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	int advice = *(int *)arg;

	return moot(advice) ? 0 : quire_madvise(q, addr, len, advice);
}

static int advise_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(madvise)(addr, len, *(int *)arg);
}

WRAP int madvise(void *addr, size_t len, int advice)
{
	struct quire *q = part_owner(addr, len);

	if (!q)
		return REAL(madvise)(addr, len, advice);
	return part_apply(q, addr, len, advise_managed, advise_native, &advice);
}

WRAP int posix_madvise(void *addr, size_t len, int advice)
{
	struct quire *q = part_owner(addr, len);
	int saved = errno;
	int error;

	if (!q)
		return REAL(posix_madvise)(addr, len, advice);
	/* POSIX's is no more than a hint, the kernel's destroys data. */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	error = part_apply(q, addr, len, advise_managed, advise_native, &advice) ? errno : 0;
	errno = saved;
	return error;
}

static int sync_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	return quire_msync(q, addr, len, *(int *)arg);
}

static int sync_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(msync)(addr, len, *(int *)arg);
}

WRAP int msync(void *addr, size_t len, int flags)
{
	struct quire *q = part_owner(addr, len);

	if (!q)
		return REAL(msync)(addr, len, flags);
	return part_apply(q, addr, len, sync_managed, sync_native, &flags);
}

/* ---- who is in memory ---- */

struct residency {
	char *base;
	unsigned char *vec;
};

static unsigned char *vec_of(struct residency *r, void *addr)
{
	return r->vec + (size_t)((char *)addr - r->base) / (size_t)sysconf(_SC_PAGESIZE);
}

static int core_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	unsigned char *vec = vec_of(arg, addr);
	size_t pages = len / (size_t)sysconf(_SC_PAGESIZE);

	if (quire_resident(q, addr, len, vec))
		return -1;
	/* The other bits are quire's own; mincore() has but one. */
	for (size_t i = 0; i < pages; i++)
		vec[i] &= 1;
	return 0;
}

static int core_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(mincore)(addr, len, vec_of(arg, addr));
}

WRAP int mincore(void *addr, size_t len, unsigned char *vec)
{
	struct quire *q = part_owner(addr, len);
	struct residency r = { addr, vec };

	if (!q)
		return REAL(mincore)(addr, len, vec);
	return part_apply(q, addr, len, core_managed, core_native, &r);
}

/* ---- locking memory ---- */

/*
 * The kernel would fill the view behind quire's back, outside the budget. To
 * hold a range is what quire_pin() is for; a program gets the answer that it
 * gets when RLIMIT_MEMLOCK is too small.
 */
static int refuse_lock(void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	struct quire *q = gate_quire();

	if (!q || !gate_managed(q, (void *)start, page_up((uintptr_t)addr + len) - start))
		return 0;
	errno = ENOMEM;
	return -1;
}

WRAP int mlock(const void *addr, size_t len)
{
	if (refuse_lock((void *)(uintptr_t)addr, len))
		return -1;
	return REAL(mlock)(addr, len);
}

WRAP int mlock2(const void *addr, size_t len, unsigned int flags)
{
	if (refuse_lock((void *)(uintptr_t)addr, len))
		return -1;
	return REAL(mlock2)(addr, len, flags);
}

WRAP int munlock(const void *addr, size_t len)
{
	struct quire *q = gate_quire();

	if (q && gate_managed(q, addr, len))
		return 0;
	return REAL(munlock)(addr, len);
}

/* It would also lock quire's own memory, which is where the pages come from. */
WRAP int mlockall(int flags)
{
	if (!gate_config.active)
		return REAL(mlockall)(flags);
	errno = ENOMEM;
	return -1;
}
