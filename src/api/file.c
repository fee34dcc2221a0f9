/* SPDX-License-Identifier: MIT */
/*
 * file.c - read(2), write(2), ftruncate(2), fsync(2) beside a mapping of the file.
 *
 * The mapping is found by the descriptor's device and inode and held for the call.
 * A file that is not mapped costs one look at an empty list.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "api/quire.h"
#include "core/filedata.h"
#include "core/pin.h"
#include "core/truncate.h"
#include "core/writeback.h"
#include "rt/native/sys.h"
#include "store/file.h"

static struct mapping *hold_by_fd(struct quire *q, int fd)
{
	struct mm *mm = &q->mm;
	struct mapping *found = NULL;
	struct list_node *pos;
	struct stat st;

	if (q->child || list_empty(&mm->mappings)) /* racy: a mapping made since is not ours yet */
		return NULL;
	if (fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return NULL;
	rwlock_read_lock(&mm->mmap_lock);
	list_for_each(pos, &mm->mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if (store_is_file(m->store, st.st_dev, st.st_ino)) {
			found = m;
			mapping_hold(m);
			break;
		}
	}
	rwlock_read_unlock(&mm->mmap_lock);
	return found;
}

static ssize_t result_of(long n, const char *call)
{
	return n < 0 ? fail((int)-n, "%s: %s", call, strerror((int)-n)) : n;
}

/* --- pinned vectors ----------------------------------------------------------------- */

static int pin_iov(struct quire *q, const struct iovec *iov, int n, bool write)
{
	if (q->child)
		return 0; /* nothing of it is here: the call goes straight to the kernel */
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len == 0)
			continue;
		int err = mm_pin(&q->mm, (uintptr_t)iov[i].iov_base, iov[i].iov_len, write);
		if (!err)
			continue;
		while (i-- > 0)
			if (iov[i].iov_len > 0)
				mm_unpin(&q->mm, (uintptr_t)iov[i].iov_base, iov[i].iov_len);
		return err;
	}
	return 0;
}

static void unpin_iov(struct quire *q, const struct iovec *iov, int n)
{
	if (q->child)
		return;
	for (int i = 0; i < n; i++)
		if (iov[i].iov_len > 0)
			mm_unpin(&q->mm, (uintptr_t)iov[i].iov_base, iov[i].iov_len);
}

static long transfer_iov(long nr, int fd, const struct iovec *iov, int n, off_t off)
{
	if (off == -1)
		return sys(nr == SYS_preadv ? SYS_readv : SYS_writev, fd, iov, n);
	return sys(nr, fd, iov, n, off, 0L);
}

/* --- reading --------------------------------------------------------------------------- */

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

ssize_t quire_preadv(struct quire *q, int fd, const struct iovec *iov, int n, off_t off)
{
	if (n < 0 || n > IOV_MAX)
		return fail(EINVAL, "quire_preadv: %d buffers", n);
	if (off < -1)
		return fail(EINVAL, "quire_preadv: offset %lld", (long long)off);
	struct mapping *m = hold_by_fd(q, fd);

	int err = 0;
	if (m) {
		/* What the mapping has newer goes first: read(2) sees what was stored. */
		off_t at = off == -1 ? (off_t)sys(SYS_lseek, fd, 0L, SEEK_CUR) : off;
		if (at >= 0)
			err = writeback_push(m, (uint64_t)at >> RT_PAGE_SHIFT,
					     pages_of((uint64_t)at + iov_bytes(iov, n)));
		mapping_unhold(m);
	}
	if (err)
		return fail(-err, "quire_preadv: newer bytes of the mapping cannot be written: %s",
			    strerror(-err));
	err = pin_iov(q, iov, n, true);
	if (err)
		return fail(-err, "quire_preadv: the buffer cannot be held: %s", strerror(-err));
	long got = transfer_iov(SYS_preadv, fd, iov, n, off);
	unpin_iov(q, iov, n);
	return result_of(got, "quire_preadv");
}

/* --- writing --------------------------------------------------------------------------- */

/* The part of a vector that filedata_write() is at. */
struct source {
	int fd;
	const char *from; /* the chunk's bytes */
	uint64_t off;     /* and where they go */
};

static int64_t source_put(void *arg, uint64_t off, uint64_t len)
{
	struct source *s = arg;

	return sys(SYS_pwrite64, s->fd, s->from + (off - s->off), len, off);
}

static void source_get(void *arg, uint64_t off, void *buf, uint64_t len)
{
	struct source *s = arg;

	memcpy(buf, s->from + (off - s->off), len); /* pinned, if it is managed */
}

/* Where a write of this descriptor begins: O_APPEND goes to the end. */
static off_t write_start(int fd, off_t off)
{
	struct stat st;

	if (fcntl(fd, F_GETFL) & O_APPEND && fstat(fd, &st) == 0)
		return st.st_size;
	return off == -1 ? (off_t)sys(SYS_lseek, fd, 0L, SEEK_CUR) : off;
}

/* One buffer, in chunks. Bytes written, or -errno if none. */
static int64_t write_buffer(struct mapping *m, int fd, const char *from, uint64_t len, uint64_t off)
{
	uint64_t done = 0;

	while (done < len) {
		uint64_t at = off + done, n = FILEDATA_CHUNK - at % RT_PAGE;
		n = n < len - done ? n : len - done;
		struct source s = { fd, from + done, at };
		struct filedata_source src = { source_put, source_get, &s };
		int64_t put = filedata_write(m, at, n, &src);
		if (put <= 0)
			return done ? (int64_t)done : put;
		done += (uint64_t)put;
		if ((uint64_t)put < n)
			break;
	}
	return (int64_t)done;
}

static int64_t write_mapped(struct mapping *m, int fd, const struct iovec *iov, int n, off_t off)
{
	off_t at = write_start(fd, off);
	int64_t done = 0;

	if (at < 0)
		return at;
	for (int i = 0; i < n; i++) {
		int64_t put =
			write_buffer(m, fd, iov[i].iov_base, iov[i].iov_len, (uint64_t)(at + done));
		if (put < 0) {
			if (done == 0)
				return put;
			break;
		}
		done += put;
		if ((uint64_t)put < iov[i].iov_len)
			break;
	}
	if (off == -1)
		sys(SYS_lseek, fd, at + done, SEEK_SET);
	return done;
}

ssize_t quire_pwritev(struct quire *q, int fd, const struct iovec *iov, int n, off_t off)
{
	if (n < 0 || n > IOV_MAX)
		return fail(EINVAL, "quire_pwritev: %d buffers", n);
	if (off < -1)
		return fail(EINVAL, "quire_pwritev: offset %lld", (long long)off);
	int err = pin_iov(q, iov, n, false);
	if (err)
		return fail(-err, "quire_pwritev: the buffer cannot be held: %s", strerror(-err));
	struct mapping *m = hold_by_fd(q, fd);
	int64_t put =
		m ? write_mapped(m, fd, iov, n, off) : transfer_iov(SYS_pwritev, fd, iov, n, off);

	if (m)
		mapping_unhold(m);
	unpin_iov(q, iov, n);
	return result_of(put, "quire_pwritev");
}

/* --- size and sync ----------------------------------------------------------------------- */

struct resize {
	int fd;
	off_t length;
};

static int resize_file(void *arg)
{
	struct resize *r = arg;

	return (int)sys(SYS_ftruncate, r->fd, r->length);
}

int quire_ftruncate(struct quire *q, int fd, off_t length)
{
	struct resize r = { fd, length };
	struct mapping *m = length >= 0 ? hold_by_fd(q, fd) : NULL;
	int err = m ? mapping_resize(m, (uint64_t)length, resize_file, &r) : resize_file(&r);

	if (m)
		mapping_unhold(m);
	return (int)result_of(err, "quire_ftruncate");
}

int quire_fsync(struct quire *q, int fd)
{
	if (q->child)
		return fd == -1 ? 0 : (int)result_of(sys(SYS_fsync, fd), "quire_fsync");
	if (fd == -1)
		return (int)result_of(writeback_all(&q->mm), "quire_fsync");
	struct mapping *m = hold_by_fd(q, fd);
	int err = 0;

	if (m) {
		err = writeback_sync(m, 0, UINT64_MAX, true);
		mapping_unhold(m);
	}
	long own = sys(SYS_fsync, fd);
	return (int)result_of(err ? err : own, "quire_fsync");
}
