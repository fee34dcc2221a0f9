/* SPDX-License-Identifier: MIT */
/* mem.c - pages of our own, and the memory of objects (one memfd each). */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <urcu-bp.h>

#include "base/bitmap.h"
#include "rt/rt.h"
#include "rt/native/fork.h"
#include "rt/native/range.h"
#include "rt/native/sys.h"

/*
 * Our own pages come from arenas that are reserved whole: a program may unmap a range
 * and map it again with MAP_FIXED, and nothing of ours may have moved into the hole
 * meanwhile. (The first version let the kernel choose: a VMA index was replaced by the
 * stress test's own mapping.)
 */
#define ARENA_BYTES (1ull << 30)
#define ARENAS      256

struct arena {
	char *base;
	uint64_t *map; /* taken pages; the first pages of the arena itself */
	size_t pages, free, hint;
};

static struct arena arenas[ARENAS];
static struct rt_lock arenas_lock;

void rt_native_fork(enum rt_fork when)
{
	switch (when) {
	case RT_FORK_PREPARE:
		rt_lock(&arenas_lock);
		urcu_bp_before_fork();
		break;
	case RT_FORK_PARENT:
		urcu_bp_after_fork_parent();
		rt_unlock(&arenas_lock);
		break;
	case RT_FORK_CHILD:
		urcu_bp_after_fork_child();
		rt_lock_init(&arenas_lock);
		break;
	}
}

static bool arena_open(struct arena *a, size_t pages)
{
	size_t map_pages = (BITMAP_WORDS(pages) * 8 + RT_PAGE - 1) / RT_PAGE;

	pages += map_pages;
	if (pages < ARENA_BYTES / RT_PAGE)
		pages = ARENA_BYTES / RT_PAGE;
	map_pages = (BITMAP_WORDS(pages) * 8 + RT_PAGE - 1) / RT_PAGE;
	long p = sys(SYS_mmap, NULL, pages * RT_PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
	if (p < 0 && p > -4096)
		return false;
	if (sys(SYS_mprotect, p, map_pages * RT_PAGE, PROT_READ | PROT_WRITE) != 0) {
		sys(SYS_munmap, p, pages * RT_PAGE);
		return false;
	}
	*a = (struct arena){ .base = (char *)p,
			     .map = (uint64_t *)p,
			     .pages = pages,
			     .free = pages - map_pages,
			     .hint = map_pages };
	bitmap_set_run(a->map, 0, map_pages);
	return true;
}

/* Take addresses; they stay inaccessible. */
static void *arena_take(struct arena *a, size_t pages)
{
	size_t at;

	if (a->free < pages)
		return NULL;
	/* Freed pages are found by the hint's fall; most often the rest is empty. */
	at = bitmap_find_run_from(a->map, a->pages, a->hint, pages);
	if (at == BITMAP_NONE)
		return NULL;
	bitmap_set_run(a->map, at, pages);
	a->free -= pages;
	if (at == a->hint)
		a->hint = at + pages;
	return a->base + at * RT_PAGE;
}

void *rt_native_range_take(size_t pages)
{
	void *p = NULL;

	rt_lock(&arenas_lock);
	for (int i = 0; i < ARENAS && !p; i++) {
		if (!arenas[i].base && !arena_open(&arenas[i], pages))
			break;
		p = arena_take(&arenas[i], pages);
	}
	rt_unlock(&arenas_lock);
	return p;
}

void rt_native_range_give(void *p, size_t pages)
{
	long err = sys(SYS_mmap, p, pages * RT_PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0L);

	/* At vm.max_map_count the middle of what is accessible cannot be made otherwise. It
	 * stays so, but its pages go: who takes the range next is promised zeros. */
	if (err < 0 && err > -4096)
		ASSERT(sys(SYS_madvise, p, pages * RT_PAGE, MADV_DONTNEED_LOCKED) == 0);
	rt_lock(&arenas_lock);
	for (int i = 0; i < ARENAS && arenas[i].base; i++) {
		struct arena *a = &arenas[i];
		size_t at = (size_t)((char *)p - a->base) / RT_PAGE;
		if ((char *)p < a->base || at >= a->pages)
			continue;
		bitmap_clear_run(a->map, at, pages);
		a->free += pages;
		if (at < a->hint)
			a->hint = at;
		break;
	}
	rt_unlock(&arenas_lock);
}

void *rt_pages_alloc(size_t bytes)
{
	size_t pages = (bytes + RT_PAGE - 1) / RT_PAGE;
	void *p = rt_native_range_take(pages);

	if (p && sys(SYS_mprotect, p, pages * RT_PAGE, PROT_READ | PROT_WRITE) != 0) {
		rt_native_range_give(p, pages);
		return NULL;
	}
	return p;
}

void rt_pages_free(void *p, size_t bytes)
{
	if (p)
		rt_native_range_give(p, (bytes + RT_PAGE - 1) / RT_PAGE);
}

long sys_fd_away(long fd)
{
	struct rlimit limit;

	if (fd < 0 || sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) != 0)
		return fd;
	unsigned long most = limit.rlim_cur > 65536 ? 65536 : limit.rlim_cur;
	long away = sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, most - most / 4);
	if (away < 0)
		return fd;
	sys(SYS_close, fd);
	return away;
}

void rt_panic(const char *file, int line, const char *what)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "quire: %s:%d: assertion failed: %s\n", file, line,
			 what);

	if (n > 0)
		sys(SYS_write, 2, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	abort();
}

int rt_object_open(struct rt_object *o, uint64_t pages)
{
	long fd = sys_fd_away(sys(SYS_memfd_create, "quire", MFD_CLOEXEC));

	if (fd < 0)
		return (int)fd;
	*o = (struct rt_object){ .fd = (int)fd };
	int err = rt_object_grow(o, pages);
	if (err)
		rt_object_close(o);
	return err;
}

void rt_object_close(struct rt_object *o)
{
	sys(SYS_close, o->fd);
	o->fd = -1;
}

static int grow_locked(struct rt_object *o, uint64_t pages)
{
	if (pages <= rt_load_u64(&o->pages, RT_RELAXED))
		return 0;
	long err = sys(SYS_ftruncate, o->fd, pages * RT_PAGE);
	if (!err)
		rt_store_u64(&o->pages, pages, RT_RELEASE);
	return (int)err;
}

int rt_object_grow(struct rt_object *o, uint64_t pages)
{
	if (pages <= rt_load_u64(&o->pages, RT_ACQUIRE))
		return 0;
	if (pages > INT64_MAX / RT_PAGE)
		return -EOVERFLOW;
	rt_lock(&o->grow_lock);
	int err = grow_locked(o, pages);
	rt_unlock(&o->grow_lock);
	return err;
}

/* All of [buf, buf+len) to or from byte `at`, over short counts and EINTR. */
static int transfer(long nr, int fd, char *buf, size_t len, uint64_t at)
{
	while (len > 0) {
		long n = sys(nr, fd, buf, len, at);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		buf += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int rt_object_fill(struct rt_object *o, uint64_t index, const void *buf, uint64_t n)
{
	return transfer(SYS_pwrite64, o->fd, (char *)buf, n * RT_PAGE, index * RT_PAGE);
}

int rt_object_fetch(struct rt_object *o, uint64_t index, void *buf, uint64_t n)
{
	return transfer(SYS_pread64, o->fd, buf, n * RT_PAGE, index * RT_PAGE);
}

int rt_object_patch(struct rt_object *o, uint64_t byte, const void *buf, size_t len)
{
	return transfer(SYS_pwrite64, o->fd, (char *)buf, len, byte);
}

int rt_object_drop(struct rt_object *o, uint64_t index, uint64_t n)
{
	long err;

	do {
		err = sys(SYS_fallocate, o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  index * RT_PAGE, n * RT_PAGE);
	} while (err == -EINTR);
	return (int)err;
}
