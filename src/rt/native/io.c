/* SPDX-License-Identifier: MIT */
/*
 * io.c - files, and the queue of reads and writes that run meanwhile.
 *
 * A file is opened twice where it can be: as given, and O_DIRECT. A transfer that
 * is a multiple of the alignment goes direct; the tail of a file, and a file
 * system without O_DIRECT, go through the kernel's page cache, which is told to
 * forget them.
 *
 * The queue is one io_uring. Submitters share it under a lock; one thread of its
 * own sleeps in it and runs done(). Where io_uring is refused (seccomp), the same
 * thread does the transfers one by one from a list.
 */
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "rt/rt.h"
#include "rt/native/sys.h"

#define RING_ENTRIES 256
#define DIRECT_ALIGN 4096
#define HELD_MOST    32 /* requests gathered for one system call */

/* --- files ------------------------------------------------------------- */

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (int)sys_fd_away(sys(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOCTTY));
}

/* Some file systems take O_DIRECT at open and refuse it at the first read. */
static bool direct_works(int fd)
{
	static char block[DIRECT_ALIGN] __attribute__((aligned(DIRECT_ALIGN)));

	return sys(SYS_pread64, fd, block, sizeof(block), 0L) >= 0;
}

int rt_file_open(struct rt_file *f, int handle, bool writable, bool direct)
{
	int access = writable ? O_RDWR : O_RDONLY;

	f->writable = writable;
	f->align = DIRECT_ALIGN;
	f->direct = -1;
	f->fd = reopen(handle, access);
	if (f->fd < 0)
		f->fd = (int)sys_fd_away(sys(SYS_fcntl, handle, F_DUPFD_CLOEXEC, 3));
	if (f->fd < 0)
		return f->fd;
	if (direct) {
		f->direct = reopen(f->fd, access | O_DIRECT);
		if (f->direct >= 0 && !direct_works(f->direct)) {
			sys(SYS_close, f->direct);
			f->direct = -1;
		}
	}
	if (f->direct < 0)
		f->direct = -1;
	return 0;
}

void rt_file_close(struct rt_file *f)
{
	sys(SYS_close, f->fd);
	if (f->direct >= 0)
		sys(SYS_close, f->direct);
	f->fd = f->direct = -1;
}

int64_t rt_file_size(struct rt_file *f)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(f->fd, &st) != 0)
		return -EIO;
	if (!S_ISBLK(st.st_mode))
		return st.st_size;
	return sys(SYS_ioctl, f->fd, BLKGETSIZE64, &bytes) < 0 ? -EIO : (int64_t)bytes;
}

static int fd_for(const struct rt_file *f, const void *buf, size_t len, uint64_t off)
{
	bool aligned = (((uintptr_t)buf | len | off) & (f->align - 1)) == 0;

	return aligned && f->direct >= 0 ? f->direct : f->fd;
}

int64_t rt_file_read(struct rt_file *f, void *buf, size_t len, uint64_t off)
{
	long n;

	do {
		n = sys(SYS_pread64, fd_for(f, buf, len, off), buf, len, off);
	} while (n == -EINTR);
	return n;
}

int64_t rt_file_write(struct rt_file *f, const void *buf, size_t len, uint64_t off)
{
	long n;

	do {
		n = sys(SYS_pwrite64, fd_for(f, buf, len, off), buf, len, off);
	} while (n == -EINTR);
	return n;
}

int rt_file_sync(struct rt_file *f)
{
	return (int)sys(SYS_fdatasync, f->fd);
}

void rt_file_trim(struct rt_file *f, uint64_t off, uint64_t len)
{
	if (f->direct < 0)
		sys(SYS_fadvise64, f->fd, off, len, POSIX_FADV_DONTNEED);
}

/* --- the queue --------------------------------------------------------- */

struct queue {
	struct io_uring ring;
	bool uring;          /* else: the list below */
	struct rt_lock lock; /* the submission side, and head and tail */
	struct rt_thread thread;
	struct rt_io *list[RING_ENTRIES];
	rt_u32 head, tail; /* list is full when tail - head is RING_ENTRIES */
	rt_u32 room;       /* raised at every completion: submitters wait on it */
	rt_u32 inflight;
	uint32_t held; /* (lock) entries not yet given to the kernel */
	rt_u32 stop;
};

static void transfer_now(struct rt_io *io)
{
	io->res = io->write ? rt_file_write(io->file, io->buf, io->len, io->off)
			    : rt_file_read(io->file, io->buf, io->len, io->off);
	io->done(io);
}

static void one_done(struct queue *q)
{
	rt_sub_u32(&q->inflight, 1, RT_RELEASE);
	rt_add_u32(&q->room, 1, RT_RELEASE);
	rt_wake(&q->room, 1);
}

/* Until it was told to stop and nothing is under way: the word to stop may overtake a read. */
static void uring_loop(struct queue *q)
{
	bool stop = false;

	while (!stop || rt_load_u32(&q->inflight, RT_ACQUIRE) > 0) {
		struct io_uring_cqe *cqe;
		int err = io_uring_wait_cqe(&q->ring, &cqe);

		if (err)
			continue; /* -EINTR */
		struct rt_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;
		io_uring_cqe_seen(&q->ring, cqe);
		if (!io) {
			stop = true;
			continue;
		}
		one_done(q);
		/* -ECANCELED: the submitter's thread ended before its request was begun. */
		if (res == -EAGAIN || res == -EINTR || res == -ECANCELED) {
			transfer_now(io);
			continue;
		}
		io->res = res;
		io->done(io);
	}
}

static void list_loop(struct queue *q)
{
	for (;;) {
		uint32_t head = rt_load_u32(&q->head, RT_RELAXED);
		uint32_t tail = rt_load_u32(&q->tail, RT_ACQUIRE);

		if (head == tail) {
			if (rt_load_u32(&q->stop, RT_ACQUIRE))
				return;
			rt_wait(&q->tail, tail, 0);
			continue;
		}
		struct rt_io *io = q->list[head % RING_ENTRIES];
		rt_store_u32(&q->head, head + 1, RT_RELEASE);
		one_done(q);
		transfer_now(io);
	}
}

static void queue_main(void *arg)
{
	struct queue *q = arg;

	if (q->uring)
		uring_loop(q);
	else
		list_loop(q);
}

int rt_ioq_open(struct rt_ioq *rq)
{
	struct queue *q = rt_pages_alloc(sizeof(*q));

	if (!q)
		return -ENOMEM;
	rt_lock_init(&q->lock);
	q->uring = io_uring_queue_init(RING_ENTRIES, &q->ring, 0) == 0;
	if (q->uring) {
		q->ring.ring_fd = (int)sys_fd_away(q->ring.ring_fd);
		q->ring.enter_ring_fd = q->ring.ring_fd;
	}
	rq->state = q;
	int err = rt_thread_start(&q->thread, queue_main, q, "quire-io");
	if (err) {
		if (q->uring)
			io_uring_queue_exit(&q->ring);
		rt_pages_free(q, sizeof(*q));
	}
	return err;
}

static void queue_stop(struct queue *q)
{
	rt_store_u32(&q->stop, 1, RT_RELEASE);
	if (q->uring) {
		rt_lock(&q->lock);
		struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data(sqe, NULL);
		io_uring_submit(&q->ring);
		rt_unlock(&q->lock);
	} else {
		rt_wake(&q->tail, 1);
	}
	rt_thread_join(&q->thread);
}

void rt_ioq_close(struct rt_ioq *rq)
{
	struct queue *q = rq->state;

	queue_stop(q);
	if (q->uring)
		io_uring_queue_exit(&q->ring);
	rt_pages_free(q, sizeof(*q));
	rq->state = NULL;
}

/* Needs: q->lock. */
static void push(struct queue *q, struct rt_io *io)
{
	rt_add_u32(&q->inflight, 1, RT_RELAXED);
	if (!q->uring) {
		uint32_t tail = rt_load_u32(&q->tail, RT_RELAXED);
		q->list[tail % RING_ENTRIES] = io;
		rt_store_u32(&q->tail, tail + 1, RT_RELEASE);
		return;
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);
	ASSERT(sqe); /* each submit drains the ring, and inflight is bounded */
	int fd = fd_for(io->file, io->buf, io->len, io->off);
	if (io->write)
		io_uring_prep_write(sqe, fd, io->buf, (unsigned)io->len, io->off);
	else
		io_uring_prep_read(sqe, fd, io->buf, (unsigned)io->len, io->off);
	io_uring_sqe_set_data(sqe, io);
}

/* Needs: q->lock. */
static void uring_push(struct queue *q)
{
	while (io_uring_submit(&q->ring) < 0)
		rt_relax(); /* -EAGAIN, -EINTR: the entries stay queued */
	q->held = 0;
}

void rt_ioq_flush(struct rt_ioq *rq)
{
	struct queue *q = rq->state;

	rt_lock(&q->lock);
	if (q->uring && q->held > 0)
		uring_push(q);
	rt_unlock(&q->lock);
}

void rt_ioq_submit(struct rt_ioq *rq, struct rt_io *io, bool more)
{
	struct queue *q = rq->state;

	rt_lock(&q->lock);
	while (rt_load_u32(&q->inflight, RT_ACQUIRE) >= RING_ENTRIES / 2) {
		uint32_t room = rt_load_u32(&q->room, RT_ACQUIRE);
		if (q->uring && q->held > 0)
			uring_push(q); /* what we wait for may be among them */
		rt_unlock(&q->lock);
		if (rt_load_u32(&q->inflight, RT_ACQUIRE) >= RING_ENTRIES / 2)
			rt_wait(&q->room, room, 0);
		rt_lock(&q->lock);
	}
	push(q, io);
	q->held++;
	if (q->uring && (!more || q->held >= HELD_MOST))
		uring_push(q);
	rt_unlock(&q->lock);
	if (!q->uring)
		rt_wake(&q->tail, 1);
}
