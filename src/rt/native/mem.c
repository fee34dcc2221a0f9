/* SPDX-License-Identifier: MIT */
/* mem.c - pages of our own, and the memory of objects (one memfd each). */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rt/rt.h"
#include "rt/native/sys.h"

void *rt_pages_alloc(size_t bytes)
{
	long p = sys(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0L);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

void rt_pages_free(void *p, size_t bytes)
{
	if (p)
		sys(SYS_munmap, p, bytes);
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
	long fd = sys(SYS_memfd_create, "quire", MFD_CLOEXEC);

	if (fd < 0)
		return (int)fd;
	o->fd = (int)fd;
	rt_store_u64(&o->pages, 0, RT_RELAXED);
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

int rt_object_grow(struct rt_object *o, uint64_t pages)
{
	if (pages <= rt_load_u64(&o->pages, RT_RELAXED))
		return 0;
	if (pages > INT64_MAX / RT_PAGE)
		return -EOVERFLOW;
	long err = sys(SYS_ftruncate, o->fd, pages * RT_PAGE);
	if (err)
		return (int)err;
	rt_store_u64(&o->pages, pages, RT_RELAXED);
	return 0;
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
