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

void datafile_make(const char *path, uint64_t size)
{
	int fd = open_direct(path, O_RDWR | O_CREAT | O_TRUNC);
	uint64_t *buf = block_alloc(BLOCK);
	int err = posix_fallocate(fd, 0, (off_t)size);

	if (err)
		die("%s: %s", path, strerror(err));
	for (uint64_t off = 0; off < size; off += BLOCK) {
		uint64_t first = off / PAGE;

		for (size_t i = 0; i < BLOCK / sizeof(*buf); i++)
			buf[i] = content_word(first + i / PAGE_WORDS, i % PAGE_WORDS);
		if (pwrite(fd, buf, BLOCK, (off_t)off) != BLOCK)
			die("%s: short write: %s", path, strerror(errno));
	}
	if (fsync(fd) || close(fd))
		die("%s: %s", path, strerror(errno));
	free(buf);
}

static void scan_submit(struct io_uring *ring, int fd, char *bufs, size_t block, bool fixed,
			unsigned int slot, uint64_t off)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (fixed)
		io_uring_prep_read_fixed(sqe, fd, bufs + slot * block, (unsigned int)block, off,
					 (int)slot);
	else
		io_uring_prep_read(sqe, fd, bufs + slot * block, (unsigned int)block, off);
	/* The slot and where it reads; block numbers fit in 48 bits. */
	sqe->user_data = (off / block) << 16 | slot;
}

void datafile_scan(int fd, uint64_t size, size_t block, unsigned int depth,
		   void (*each)(void *arg, uint64_t page, const uint64_t *data, size_t pages),
		   void *arg)
{
	struct io_uring ring;
	struct iovec iov[64];
	char *bufs = block_alloc(block * depth);
	uint64_t next = 0, done = 0;
	bool fixed;
	int err;

	if (depth > 64 || size % block)
		die("scan: depth %u, size not a multiple of the block", depth);
	err = io_uring_queue_init(depth, &ring, 0);
	if (err)
		die("io_uring: %s", strerror(-err));
	for (unsigned int i = 0; i < depth; i++)
		iov[i] = (struct iovec){ bufs + i * block, block };
	/* Pinned once if the memlock limit allows: the ceiling should be one. */
	fixed = !io_uring_register_buffers(&ring, iov, depth);
	for (unsigned int i = 0; i < depth && next < size; i++, next += block)
		scan_submit(&ring, fd, bufs, block, fixed, i, next);
	io_uring_submit(&ring);
	while (done < size) {
		struct io_uring_cqe *cqe;
		unsigned int slot;
		uint64_t off;

		err = io_uring_wait_cqe(&ring, &cqe);
		if (err == -EINTR)
			continue;
		if (err || cqe->res != (int)block)
			die("direct read: %s", strerror(err            ? -err
							: cqe->res < 0 ? -cqe->res
								       : EIO));
		slot = cqe->user_data & 0xffff;
		off = (cqe->user_data >> 16) * block;
		io_uring_cqe_seen(&ring, cqe);
		each(arg, off / PAGE, (const uint64_t *)(bufs + slot * block), block / PAGE);
		done += block;
		if (next < size) {
			scan_submit(&ring, fd, bufs, block, fixed, slot, next);
			io_uring_submit(&ring);
			next += block;
		}
	}
	io_uring_queue_exit(&ring);
	free(bufs);
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
