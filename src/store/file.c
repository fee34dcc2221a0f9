/* SPDX-License-Identifier: MIT */
/*
 * file.c - see file.h.
 *
 * A file that was first mapped read-only and then writable keeps both descriptors:
 * reads that are under way use the first.
 */
#include "store/file.h"

#include <errno.h>

struct file_store {
	struct store store;
	struct rt_file file;
	struct rt_file writer; /* of a later, writable view */
	bool has_writer;
	uint64_t dev, ino;
};

static struct file_store *of(const struct store *s)
{
	return (struct file_store *)s;
}

static struct rt_file *writer_of(struct file_store *f)
{
	return f->has_writer ? &f->writer : &f->file;
}

static int64_t file_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	/* A short read need not be the end of the file: that is when nothing comes. */
	while (done < len) {
		int64_t n = rt_file_read(&of(s)->file, (char *)buf + done, len - done, off + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	rt_file_trim(&of(s)->file, off, len);
	return (int64_t)done;
}

static int64_t file_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	const char *from = buf;
	size_t done = 0;

	while (done < len) {
		int64_t n = rt_file_write(writer_of(of(s)), from + done, len - done, off + done);
		if (n < 0)
			return n;
		if (n == 0)
			return -ENOSPC;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static int file_sync(struct store *s)
{
	return s->writable ? rt_file_sync(writer_of(of(s))) : 0;
}

static int64_t file_size(struct store *s)
{
	return rt_file_size(&of(s)->file);
}

static struct rt_file *file_file(struct store *s, bool write)
{
	return write ? writer_of(of(s)) : &of(s)->file;
}

bool store_is_file(const struct store *s, uint64_t dev, uint64_t ino);

static bool file_same(const struct store *a, const struct store *b)
{
	return store_is_file(a, of(b)->dev, of(b)->ino);
}

static void file_close(struct store *s)
{
	rt_file_close(&of(s)->file);
	if (of(s)->has_writer)
		rt_file_close(&of(s)->writer);
	rt_pages_free(s, RT_PAGE);
}

static void file_upgrade(struct store *s, struct store *w)
{
	of(s)->writer = of(w)->file;
	of(s)->has_writer = true;
	s->writable = true;
	rt_pages_free(w, RT_PAGE);
}

static const struct store_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.sync = file_sync,
	.size = file_size,
	.file = file_file,
	.same = file_same,
	.upgrade = file_upgrade,
	.close = file_close,
};

bool store_is_file(const struct store *s, uint64_t dev, uint64_t ino)
{
	return s->ops == &file_ops && of(s)->dev == dev && of(s)->ino == ino;
}

int store_file_open(int handle, uint64_t dev, uint64_t ino, bool writable, bool direct,
		    struct store **out)
{
	struct file_store *f = rt_pages_alloc(RT_PAGE);

	if (!f)
		return -ENOMEM;
	int err = rt_file_open(&f->file, handle, writable, direct);
	if (err) {
		rt_pages_free(f, RT_PAGE);
		return err;
	}
	f->store = (struct store){ .ops = &file_ops, .writable = writable };
	f->dev = dev;
	f->ino = ino;
	*out = &f->store;
	return 0;
}
