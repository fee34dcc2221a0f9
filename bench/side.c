/* SPDX-License-Identifier: MIT */
#include "side.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

__attribute__((noreturn)) static void side_failed(const struct side *s, const char *what)
{
	int err = errno;

	die("%s: %s%s%s", what, strerror(err), s->is_quire ? ": " : "",
	    s->is_quire ? quire_error() : "");
}

void side_open(struct side *s)
{
	if (!s->is_quire)
		return;
	s->q = quire_open(&(struct quire_options){ .size = sizeof(struct quire_options),
						   .memory = s->memory,
						   .opts = s->opts,
						   .swap = s->swap,
						   .swap_size = s->swap_size });
	if (!s->q)
		side_failed(s, "quire_open");
}

void side_map(struct side *s, int fd, size_t len, bool writable, int advice)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	if (fd < 0 && !s->is_quire)
		flags |= MAP_NORESERVE;
	s->map = s->is_quire ? quire_mmap(s->q, NULL, len, prot, flags, fd, 0)
			     : mmap(NULL, len, prot, flags, fd, 0);
	if (s->map == MAP_FAILED)
		side_failed(s, "mmap");
	s->len = len;
	if (fd < 0 && !s->is_quire && madvise(s->map, len, MADV_NOHUGEPAGE) && errno != EINVAL)
		side_failed(s, "MADV_NOHUGEPAGE");
	if (advice)
		side_advise(s, 0, len, advice);
}

void side_advise(struct side *s, size_t off, size_t len, int advice)
{
	int ret = s->is_quire ? quire_madvise(s->q, s->map + off, len, advice)
			      : madvise(s->map + off, len, advice);

	if (ret)
		side_failed(s, "madvise");
}

void side_sync(struct side *s)
{
	int ret = s->is_quire ? quire_msync(s->q, s->map, s->len, MS_SYNC)
			      : msync(s->map, s->len, MS_SYNC);

	if (ret)
		side_failed(s, "msync");
}

void side_unmap(struct side *s)
{
	int ret = s->is_quire ? quire_munmap(s->q, s->map, s->len) : munmap(s->map, s->len);

	if (ret)
		side_failed(s, "munmap");
	s->map = NULL;
}

void side_close(struct side *s)
{
	if (s->map)
		side_unmap(s);
	if (s->is_quire && quire_close(s->q))
		side_failed(s, "quire_close");
}

void side_stats(struct side *s, struct quire_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	if (s->is_quire && quire_stats(s->q, st))
		side_failed(s, "quire_stats");
}
