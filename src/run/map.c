/* SPDX-License-Identifier: MIT */
/*
 * map.c - mmap(2), munmap(2), mremap(2): what is taken over, and what is let go.
 *
 * A mapping of a file is taken over when it is of a regular file on a real file system,
 * at least gate_config.min_size long, not executable, and its path matches.
 * Every mapping of a file that was taken over once is, whatever its size: two
 * views of one file, one quire's and one the kernel's, would not be coherent.
 *
 * Files in memory (tmpfs, hugetlbfs) and those that are no files (sysfs, proc)
 * stay the kernel's: paging the first to RAM saves nothing, and they are how
 * processes share memory. QUIRE_MATCH may name them all the same.
 *
 * With QUIRE_ANON private anonymous memory of gate_config.min_size and more is taken over,
 * and what replaces a part of such memory, however small. Stacks are not: the handler runs
 * on them. Nor is what a child of a fork shares (MAP_SHARED), and what can be executed or
 * not be accessed at all: of such reservations runtimes make their code. A part of one that
 * is mapped anew to be accessed is memory like any other.
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
#include "run/part.h"
#include "run/real.h"

#define PATH_BYTES 1024

/* Flags that say what quire does not do. */
#define NATIVE_FLAGS (MAP_HUGETLB | MAP_SYNC | MAP_LOCKED | MAP_GROWSDOWN | MAP_32BIT)

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

	if (!gate_config.active || gate_inside || len == 0 || prot & PROT_EXEC ||
	    flags & NATIVE_FLAGS)
		return false;
	if (flags & MAP_ANONYMOUS)
		return gate_config.anon && type == MAP_PRIVATE && !(flags & MAP_STACK);
	return fd >= 0 && off >= 0 && page_aligned((uintptr_t)off) &&
	       (type == MAP_SHARED || type == MAP_PRIVATE || type == MAP_SHARED_VALIDATE);
}

/* All of it quire's, at this moment? */
static bool all_managed(void *addr, size_t len)
{
	struct quire *q = part_owner(addr, len);
	uintptr_t start = (uintptr_t)addr, end = start + page_up(len), from, to;
	sigset_t saved;
	bool all;

	if (!q)
		return false;
	gate_enter(&saved);
	range_lock();
	all = range_next(start, end, &from, &to) && from == start && to == end;
	range_unlock();
	gate_leave(&saved);
	return all;
}

/* A part of a region is replaced by its owner's kind: allocators give memory back so. */
static bool anon_wanted(void *addr, size_t len, int prot, int flags)
{
	char size[SIZE_TEXT_MAX];

	if (flags & MAP_FIXED && all_managed(addr, len))
		return true;
	if (len < gate_config.min_size || prot == PROT_NONE)
		return false;
	log_line("take over anonymous memory of %s", size_format(size, len));
	return true;
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

/* ---- unmapping ---- */

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
	return part_each_locked(q, addr, len, unmap_managed, NULL, NULL);
}

static int clear_all(struct quire *q, void *addr, size_t len)
{
	if (range_reserve())
		return -1;
	return part_each_locked(q, addr, len, unmap_managed, unmap_native, NULL);
}

/* ---- mmap ---- */

/*
 * Maps fd, or anonymous memory (st NULL), in q. The range lock is held throughout (see range.h).
 * Where the program replaces memory that is the kernel's, that goes first: quire only replaces its
 * own. In the gap another thread may be given the addresses; then this call fails, and nobody's
 * memory is overwritten.
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
	if (st)
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
	struct quire *q = flags & MAP_FIXED ? part_owner(addr, len) : NULL;
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
	bool anon = flags & MAP_ANONYMOUS;
	struct stat st;
	int saved = errno;
	void *p;

	if (!may_take(len, prot, flags, fd, off) ||
	    !(anon ? anon_wanted(addr, len, prot, flags) : wanted(len, fd, &st))) {
		errno = saved;
		return map_native(addr, len, prot, flags, fd, off);
	}
	if (anon) /* other flags are hints, to the kernel */
		flags &= MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_FIXED_NOREPLACE |
			 MAP_NORESERVE | MAP_POPULATE;
	p = map_managed(gate_open(), addr, len, prot, flags, fd, off, anon ? NULL : &st);
	if (p == MAP_FAILED && not_for_us(errno))
		return map_native(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED)
		errno = saved;
	return p;
}
ALIAS(mmap64, mmap);

WRAP int munmap(void *addr, size_t len)
{
	struct quire *q = part_owner(addr, len);
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
	q = part_owner(old, old_len ? old_len : 1);
	target = to ? part_owner(to, new_len) : NULL;
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
