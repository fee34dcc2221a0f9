/* SPDX-License-Identifier: MIT */
/*
 * map.c - mmap(2) and what acts on its result.
 *
 * A mapping is taken over when it is of a regular file on a real file system,
 * at least gate_config.min_size long, not executable, and its path matches.
 * Every mapping of a file that was taken over once is, whatever its size: two
 * views of one file, one quire's and one the kernel's, would not be coherent.
 *
 * Files in memory (tmpfs, hugetlbfs) and those that are no files (sysfs, proc)
 * stay the kernel's: paging the first to RAM saves nothing, and they are how
 * processes share memory. QUIRE_MATCH may name them all the same.
 *
 * A range may hold both kinds; each_part() gives every part to its owner.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/size.h"
#include "run/fileset.h"
#include "run/gate.h"
#include "run/log.h"
#include "run/real.h"

#define PATH_BYTES 1024

/* Flags that say what quire does not do. */
#define NATIVE_FLAGS                                                                               \
	(MAP_ANONYMOUS | MAP_HUGETLB | MAP_SYNC | MAP_LOCKED | MAP_GROWSDOWN | MAP_32BIT)

static uintptr_t page_up(uintptr_t v)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	return (v + page - 1) & ~(page - 1);
}

static bool aligned(uintptr_t v)
{
	return v == page_up(v);
}

/* ---- what to take over ---- */

static bool on_real_fs(int fd)
{
	static const unsigned long unreal[] = {
		TMPFS_MAGIC,   RAMFS_MAGIC,        HUGETLBFS_MAGIC,
		SYSFS_MAGIC,   PROC_SUPER_MAGIC,   DEBUGFS_MAGIC,
		TRACEFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < sizeof(unreal) / sizeof(unreal[0]); i++) {
		if ((unsigned long)fs.f_type == unreal[i])
			return false;
	}
	return true;
}

static bool path_matches(int fd, char path[PATH_BYTES])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_BYTES - 1);
	path[n > 0 ? n : 0] = '\0';
	if (gate_config.match)
		return n > 0 && config_match(gate_config.match, path);
	return on_real_fs(fd);
}

/* The cheap part: no system call. */
static bool may_take(size_t len, int prot, int flags, int fd, off_t off)
{
	int type = flags & MAP_TYPE;

	return gate_config.active && !gate_inside && fd >= 0 && len > 0 && !(prot & PROT_EXEC) &&
	       !(flags & NATIVE_FLAGS) && off >= 0 && aligned((uintptr_t)off) &&
	       (type == MAP_SHARED || type == MAP_PRIVATE || type == MAP_SHARED_VALIDATE);
}

static bool wanted(size_t len, int fd, struct stat *st)
{
	char path[PATH_BYTES];
	char size[SIZE_TEXT_MAX];

	if (fstat(fd, st) || !S_ISREG(st->st_mode))
		return false;
	if (fileset_has(st))
		return true;
	if (len < gate_config.min_size || !path_matches(fd, path))
		return false;
	log_line("take over %s: mapping of %s", path, size_format(size, len));
	return true;
}

/* ---- ranges with two owners ---- */

/*
 * Calls managed() or native() on each part of [addr, addr+len), in order, until
 * one fails; a part that is NULL is skipped. Needs: the range lock if `locked`;
 * otherwise the set may change between the parts, as it may with the kernel.
 */
typedef int (*part_fn)(struct quire *q, void *addr, size_t len, void *arg);

static int each_part(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native,
		     void *arg, bool locked)
{
	uintptr_t at = (uintptr_t)addr, end = at + len;
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

/* Is any of it ours? Rounds len up, as all these calls do. */
static struct quire *owner(void *addr, size_t len)
{
	struct quire *q = gate_quire();
	uintptr_t start = (uintptr_t)addr;

	if (!q || !aligned(start) || !len || start + len < start)
		return NULL;
	return range_may_overlap(start, start + len) ? q : NULL;
}

/* each_part() for calls that leave the set alone. */
static int apply(struct quire *q, void *addr, size_t len, part_fn managed, part_fn native,
		 void *arg)
{
	sigset_t saved;
	int r;

	gate_enter(&saved);
	r = each_part(q, addr, page_up(len), managed, native, arg, false);
	gate_leave(&saved);
	return r;
}

static int unmap_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	if (quire_munmap(q, addr, len))
		return -1;
	range_del((uintptr_t)addr, (uintptr_t)addr + len);
	/* A second del, of the next part, must find room too. */
	return range_reserve();
}

static int unmap_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(munmap)(addr, len);
}

/* Makes way for MAP_FIXED. Needs: the range lock. */
static int clear_managed(struct quire *q, void *addr, size_t len)
{
	if (range_reserve())
		return -1;
	return each_part(q, addr, page_up(len), unmap_managed, NULL, NULL, true);
}

static int clear_all(struct quire *q, void *addr, size_t len)
{
	if (range_reserve())
		return -1;
	return each_part(q, addr, page_up(len), unmap_managed, unmap_native, NULL, true);
}

/* ---- mmap ---- */

/*
 * Maps fd in q. The range lock is held throughout (see range.h). Where the
 * program replaces memory that is the kernel's, that goes first: quire only
 * replaces its own. In the gap another thread may be given the addresses; then
 * this call fails, and nobody's memory is overwritten.
 */
static void *map_managed(struct quire *q, void *addr, size_t len, int prot, int flags, int fd,
			 off_t off, const struct stat *st)
{
	sigset_t saved;
	void *p = MAP_FAILED;

	gate_enter(&saved);
	range_lock();
	errno = ENOMEM;
	if (range_reserve())
		goto out;
	if ((flags & MAP_FIXED) && clear_all(q, addr, len))
		goto out;
	/* Before the view exists, so that no write can miss it. */
	fileset_add(st);
	p = quire_mmap(q, addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED)
		range_add((uintptr_t)p, (uintptr_t)p + page_up(len));
	else
		log_line("quire_mmap: %s", quire_error());
out:
	range_unlock();
	gate_leave(&saved);
	return p;
}

/* The kernel's own mapping, perhaps on top of one of ours. */
static void *map_native(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct quire *q = flags & MAP_FIXED ? owner(addr, len) : NULL;
	sigset_t saved;
	void *p = MAP_FAILED;

	if (!q)
		return REAL(mmap)(addr, len, prot, flags, fd, off);
	gate_enter(&saved);
	range_lock();
	if (!clear_managed(q, addr, len))
		p = REAL(mmap)(addr, len, prot, flags, fd, off);
	range_unlock();
	gate_leave(&saved);
	return p;
}

/* Errors that mean "not mine", rather than "not possible". */
static bool not_for_us(int error)
{
	return error == EINVAL || error == ENODEV || error == EOPNOTSUPP;
}

WRAP void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct stat st;
	int saved = errno;
	void *p;

	if (!may_take(len, prot, flags, fd, off) || !wanted(len, fd, &st)) {
		errno = saved;
		return map_native(addr, len, prot, flags, fd, off);
	}
	p = map_managed(gate_open(), addr, len, prot, flags, fd, off, &st);
	if (p == MAP_FAILED && not_for_us(errno))
		return map_native(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED)
		errno = saved;
	return p;
}
ALIAS(mmap64, mmap);

WRAP int munmap(void *addr, size_t len)
{
	struct quire *q = owner(addr, len);
	sigset_t saved;
	int r;

	if (!q)
		return REAL(munmap)(addr, len);
	gate_enter(&saved);
	range_lock();
	r = clear_all(q, addr, len);
	range_unlock();
	gate_leave(&saved);
	return r;
}

static void *remap_managed(struct quire *q, void *old, size_t old_len, size_t new_len, int flags,
			   void *to)
{
	uintptr_t start = (uintptr_t)old;
	void *p = MAP_FAILED;

	errno = ENOMEM;
	if (range_reserve())
		return p;
	if ((flags & MREMAP_FIXED) && clear_all(q, to, new_len))
		return p;
	p = quire_mremap(q, old, old_len, new_len, flags, to);
	if (p == MAP_FAILED)
		return p;
	range_del(start, start + page_up(old_len));
	/* Cannot fail: del of a range's end or whole never took more room. */
	if (!range_reserve())
		range_add((uintptr_t)p, (uintptr_t)p + page_up(new_len));
	return p;
}

WRAP void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	struct quire *q, *target;
	void *to = NULL;
	uintptr_t from, end;
	sigset_t saved;
	va_list ap;
	void *p;

	if (flags & MREMAP_FIXED) {
		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	/* old_len 0 asks for a second view, which is the kernel's trick alone. */
	q = owner(old, old_len ? old_len : 1);
	target = to ? owner(to, new_len) : NULL;
	if (!q && !target)
		return REAL(mremap)(old, old_len, new_len, flags, to);
	gate_enter(&saved);
	range_lock();
	if (q && range_next((uintptr_t)old, (uintptr_t)old + page_up(old_len ? old_len : 1), &from,
			    &end))
		p = remap_managed(q, old, old_len, new_len, flags, to);
	else if (target && clear_managed(target, to, new_len))
		p = MAP_FAILED;
	else
		p = REAL(mremap)(old, old_len, new_len, flags, to);
	range_unlock();
	gate_leave(&saved);
	return p;
}

/* ---- rights, advice, sync ---- */

static int protect_managed(struct quire *q, void *addr, size_t len, void *arg)
{
	return quire_mprotect(q, addr, len, *(int *)arg);
}

static int protect_native(struct quire *q, void *addr, size_t len, void *arg)
{
	return REAL(mprotect)(addr, len, *(int *)arg);
}

WRAP int mprotect(void *addr, size_t len, int prot)
{
	struct quire *q = owner(addr, len);

	if (!q)
		return REAL(mprotect)(addr, len, prot);
	return apply(q, addr, len, protect_managed, protect_native, &prot);
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
	struct quire *q = owner(addr, len);

	if (!q)
		return REAL(madvise)(addr, len, advice);
	return apply(q, addr, len, advise_managed, advise_native, &advice);
}

WRAP int posix_madvise(void *addr, size_t len, int advice)
{
	struct quire *q = owner(addr, len);
	int saved = errno;
	int error;

	if (!q)
		return REAL(posix_madvise)(addr, len, advice);
	/* POSIX's is no more than a hint, the kernel's destroys data. */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	error = apply(q, addr, len, advise_managed, advise_native, &advice) ? errno : 0;
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
	struct quire *q = owner(addr, len);

	if (!q)
		return REAL(msync)(addr, len, flags);
	return apply(q, addr, len, sync_managed, sync_native, &flags);
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
	struct quire *q = owner(addr, len);
	struct residency r = { addr, vec };

	if (!q)
		return REAL(mincore)(addr, len, vec);
	return apply(q, addr, len, core_managed, core_native, &r);
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
