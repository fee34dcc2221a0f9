/* SPDX-License-Identifier: MIT */
#include "datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"
#include "side.h"

#define BLOCK (1u << 20)
#define DEPTH 4

static void *block_alloc(size_t len)
{
	void *p = NULL;

	if (posix_memalign(&p, PAGE, len))
		die("no memory");
	memset(p, 0, len);
	return p;
}

/* O_DIRECT where the file system has it. */
static int open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0644);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static void fill_block(uint64_t *buf, size_t block, uint64_t off)
{
	for (size_t i = 0; i < block / sizeof(*buf); i++)
		buf[i] = content_word(off / PAGE + i / PAGE_WORDS, i % PAGE_WORDS);
}

void datafile_make(const char *path, uint64_t size)
{
	int fd = open_direct(path, O_RDWR | O_CREAT | O_TRUNC);
	uint64_t *buf = block_alloc(BLOCK);
	int err = posix_fallocate(fd, 0, (off_t)size);

	if (err)
		die("%s: %s", path, strerror(err));
	for (uint64_t off = 0; off < size; off += BLOCK) {
		fill_block(buf, BLOCK, off);
		if (pwrite(fd, buf, BLOCK, (off_t)off) != BLOCK)
			die("%s: short write: %s", path, strerror(errno));
	}
	if (fsync(fd) || close(fd))
		die("%s: %s", path, strerror(errno));
	free(buf);
}

/* A file in order, block by block, by a few requests in flight. */
struct scan {
	struct io_uring ring;
	int fd;
	char *bufs;
	size_t block;
	bool fixed, write;
};

static void scan_submit(struct scan *s, unsigned int slot, uint64_t off)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
	char *buf = s->bufs + slot * s->block;
	unsigned int len = (unsigned int)s->block;

	if (s->write)
		fill_block((uint64_t *)buf, s->block, off);
	if (s->fixed && s->write)
		io_uring_prep_write_fixed(sqe, s->fd, buf, len, off, (int)slot);
	else if (s->fixed)
		io_uring_prep_read_fixed(sqe, s->fd, buf, len, off, (int)slot);
	else if (s->write)
		io_uring_prep_write(sqe, s->fd, buf, len, off);
	else
		io_uring_prep_read(sqe, s->fd, buf, len, off);
	/* The slot and where it reads; block numbers fit in 48 bits. */
	sqe->user_data = (off / s->block) << 16 | slot;
}

/* each NULL: writes. */
static void scan(int fd, uint64_t size, size_t block, unsigned int depth,
		 void (*each)(void *arg, uint64_t page, const uint64_t *data, size_t pages),
		 void *arg)
{
	struct scan s = { .fd = fd, .block = block, .write = !each };
	struct iovec iov[64];
	uint64_t next = 0, done = 0;
	int err;

	if (depth > 64 || size % block)
		die("scan: depth %u, size not a multiple of the block", depth);
	s.bufs = block_alloc(block * depth);
	err = io_uring_queue_init(depth, &s.ring, 0);
	if (err)
		die("io_uring: %s", strerror(-err));
	for (unsigned int i = 0; i < depth; i++)
		iov[i] = (struct iovec){ s.bufs + i * block, block };
	/* Pinned once if the memlock limit allows: the ceiling should be one. */
	s.fixed = !io_uring_register_buffers(&s.ring, iov, depth);
	for (unsigned int i = 0; i < depth && next < size; i++, next += block)
		scan_submit(&s, i, next);
	io_uring_submit(&s.ring);
	while (done < size) {
		struct io_uring_cqe *cqe;
		unsigned int slot;
		uint64_t off;

		err = io_uring_wait_cqe(&s.ring, &cqe);
		if (err == -EINTR)
			continue;
		if (err || cqe->res != (int)block)
			die("direct %s: %s", s.write ? "write" : "read",
			    strerror(err            ? -err
				     : cqe->res < 0 ? -cqe->res
						    : EIO));
		slot = cqe->user_data & 0xffff;
		off = (cqe->user_data >> 16) * block;
		io_uring_cqe_seen(&s.ring, cqe);
		if (each)
			each(arg, off / PAGE, (const uint64_t *)(s.bufs + slot * block),
			     block / PAGE);
		done += block;
		if (next < size) {
			scan_submit(&s, slot, next);
			io_uring_submit(&s.ring);
			next += block;
		}
	}
	io_uring_queue_exit(&s.ring);
	free(s.bufs);
}

void datafile_scan(int fd, uint64_t size, size_t block, unsigned int depth,
		   void (*each)(void *arg, uint64_t page, const uint64_t *data, size_t pages),
		   void *arg)
{
	scan(fd, size, block, depth, each, arg);
}

void datafile_write(int fd, uint64_t size, size_t block, unsigned int depth)
{
	scan(fd, size, block, depth, NULL, NULL);
}

void datafile_compare(void *arg, uint64_t page, const uint64_t *data, size_t pages)
{
	uint64_t *wrong = arg;

	for (size_t i = 0; i < pages; i++, page++, data += PAGE_WORDS) {
		unsigned int slot = content_slot(page);

		*wrong += data[slot] != content_word(page, slot);
	}
}

struct tally {
	uint64_t wrong, writes;
};

static void check_block(void *arg, uint64_t page, const uint64_t *data, size_t pages)
{
	struct tally *t = arg;

	for (size_t i = 0; i < pages; i++, page++, data += PAGE_WORDS) {
		uint64_t bad = (data[0] >> COUNT_BITS) ^ page;

		for (unsigned int w = 1; w < PAGE_WORDS; w++)
			bad |= data[w] ^ content_word(page, w);
		t->wrong += bad != 0;
		t->writes += data[0] & ((1u << COUNT_BITS) - 1);
	}
}

void datafile_check(const char *path, uint64_t size, uint64_t *wrong, uint64_t *writes)
{
	struct tally t = { 0, 0 };
	struct stat st;
	int fd = open_direct(path, O_RDONLY);

	if (fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	if ((uint64_t)st.st_size == size && (uint64_t)st.st_blocks * 512 >= size)
		datafile_scan(fd, size, BLOCK, DEPTH, check_block, &t);
	else
		t.wrong = size / PAGE;
	close(fd);
	*wrong = t.wrong;
	*writes = t.writes;
}
