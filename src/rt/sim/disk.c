/* SPDX-License-Identifier: MIT */
/*
 * disk.c (sim) - files on a device with a volatile cache, and the queue to it.
 *
 * A write lands in the cache, sector by sector in any order; a sync makes durable what was
 * there when it began. A crash keeps any subset of what was not synced: judged by
 * `durable`, the worst one. A sync that fails loses what it was for: reads give it still,
 * but no later sync makes it durable, unless it is written again. Reads may be short,
 * reads, writes and syncs may fail, a file may be full from some byte on. Requests of the
 * queue complete in any order on a thread of their own, those submitted with `more` not
 * before the flush (knob).
 */
#include <errno.h>
#include <string.h>

#define SIM_NO_SITES
#include "rt/sim/fiber.h"
#include "rt/sim/machine.h"

#define DISK ((void *)S->file)
#define IOQ  ((void *)S->io)

void disk_reset(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		S->file[i].full = -1;
}

static uint64_t *file_word(struct sim_file *f, uint64_t page, unsigned word)
{
	return (uint64_t *)(void *)(f->page[page] + word * SIM_SECTOR);
}

void sim_file_new(unsigned file, uint64_t size)
{
	struct sim_file *f = &S->file[file];

	f->used = true;
	f->size = size;
	for (uint64_t p = 0; p < SIM_FILE_PAGES && p * RT_PAGE < size; p++)
		for (unsigned w = 0; w < SIM_WORDS; w++) {
			uint64_t v = 0xf000000000ull | (uint64_t)file << 16 | p << 4 | w;
			if (p * RT_PAGE + w * SIM_SECTOR >= size)
				v = 0;
			*file_word(f, p, w) = f->durable[p][w] = v;
		}
}

uint64_t sim_file_word(unsigned file, uint64_t page, unsigned word)
{
	return *file_word(&S->file[file], page, word);
}

void sim_file_truncate(unsigned file, uint64_t size)
{
	struct sim_file *f = &S->file[file];

	machine_point("truncate", DISK, SIM_W);
	if (size < f->size) { /* past the end there are zeros already */
		memset((uint8_t *)f->page + size, 0, f->size - size);
		for (uint64_t p = 0; p < SIM_FILE_PAGES; p++)
			for (unsigned w = 0; w < SIM_WORDS; w++)
				if (p * RT_PAGE + w * SIM_SECTOR >= size) {
					f->durable[p][w] = 0;
					f->lost[p][w] = false;
				}
	}
	f->size = size;
	machine_seen(size);
}

/* --- files ------------------------------------------------------------------------- */

int rt_file_open(struct rt_file *f, int handle, bool writable, bool direct)
{
	(void)direct;
	if (sim_fails("file_open"))
		return -EMFILE;
	f->id = handle;
	f->writable = writable;
	return 0;
}

void rt_file_close(struct rt_file *f)
{
	f->id = -1;
}

int64_t rt_file_size(struct rt_file *f)
{
	machine_point("file_size", DISK, SIM_R);
	if (sim_fails("file_size"))
		return -EIO;
	machine_seen(S->file[f->id].size);
	return (int64_t)S->file[f->id].size;
}

/* What of [off, off+len) is in the file. */
static size_t bytes_in(const struct sim_file *f, uint64_t off, size_t len)
{
	if (off >= f->size)
		return 0;
	return f->size - off < len ? (size_t)(f->size - off) : len;
}

static int64_t do_read(struct sim_file *f, char *buf, size_t len, uint64_t off)
{
	size_t n = bytes_in(f, off, len);

	f->reads++;
	if (f->dead_reads)
		return -EIO;
	if (E.knobs.short_reads && n > SIM_SECTOR)
		n = SIM_SECTOR;
	machine_transfer(buf, (uint8_t *)f->page + off, n);
	for (uint64_t p = (off + RT_PAGE - 1) / RT_PAGE; p * RT_PAGE < off + n; p++)
		f->page_reads[p]++; /* the rest of a short one is not another */
	return (int64_t)n;
}

/* A read that fails may have changed the buffer. */
static int64_t fail_read(void *buf, size_t len)
{
	memset(buf, 0xee, len);
	return -EIO;
}

static void check_not_in_pool(const void *buf, size_t len)
{
	if (pool_has(buf, len))
		sim_fail("CONTRACT", "a file is read into the frames of a pool");
}

int64_t rt_file_read(struct rt_file *f, void *buf, size_t len, uint64_t off)
{
	check_not_in_pool(buf, len);
	machine_point("read", DISK, SIM_R);
	bool fails = sim_fails("file_read");
	machine_yield("reading", DISK, SIM_R);
	while (S->file[f->id].hangs && !S->t[S->cur].killed) {
		rt_relax();
		machine_waited(DISK);
		machine_waited(&S->t[S->cur]);
	}
	if (S->file[f->id].hangs)
		return -EINTR; /* as a FUSE or NFS read: only death ends it */
	int64_t n = fails ? fail_read(buf, len) : do_read(&S->file[f->id], buf, len, off);
	machine_seen((uint64_t)n);
	return n;
}

static int64_t do_write(unsigned id, const char *buf, size_t len, uint64_t off)
{
	struct sim_file *f = &S->file[id];
	size_t n = len;

	f->writes++;
	if (f->dead_writes)
		return -EIO;
	if (f->full >= 0) {
		if (off >= (uint64_t)f->full)
			return -ENOSPC;
		if (off + n > (uint64_t)f->full)
			n = (size_t)((uint64_t)f->full - off);
	}
	if (E.knobs.short_reads && n > SIM_SECTOR)
		n = SIM_SECTOR;
	if (off + n > SIM_FILE_PAGES * RT_PAGE)
		sim_fail("MACHINE", "a write past what a simulated file has");
	machine_transfer((uint8_t *)f->page + off, buf, n);
	for (uint64_t at = off / SIM_SECTOR; at * SIM_SECTOR < off + n; at++)
		f->lost[at / SIM_WORDS][at % SIM_WORDS] = false;
	if (off + n > f->size)
		f->size = off + n;
	for (uint64_t at = off / SIM_SECTOR * SIM_SECTOR; at < off + n && E.on_write;
	     at += SIM_SECTOR)
		if (at >= off && at + 8 <= off + n)
			E.on_write(id, at / RT_PAGE, (unsigned)(at % RT_PAGE / SIM_SECTOR),
				   *file_word(f, at / RT_PAGE, at % RT_PAGE / SIM_SECTOR));
	return (int64_t)n;
}

/* A write that fails may have arrived in part. */
static int64_t fail_write(unsigned id, const char *buf, size_t len, uint64_t off, int64_t err)
{
	if (len > SIM_SECTOR && sim_choose(2) == 1)
		do_write(id, buf, SIM_SECTOR, off);
	return err;
}

static int64_t write_error(void)
{
	return S->failures % 2 ? -EIO : -ENOSPC;
}

/*
 * A transfer from the frames of a pool: whether it is under way when one is put or
 * dropped is to be found out, so its begin and its end conflict with those.
 */
static void transfer_begins(const void *buf, size_t len)
{
	if (S->cur < 0 || !pool_has(buf, len))
		return;
	machine_point("transfer", MEMORY, SIM_R);
	pool_check_readable(buf, len);
	S->t[S->cur].from = buf;
	S->t[S->cur].from_bytes = len;
	machine_seen(0);
}

static void transfer_ends(void)
{
	if (S->cur < 0 || !S->t[S->cur].from)
		return;
	machine_point("transferred", MEMORY, SIM_R);
	S->t[S->cur].from = NULL;
	machine_seen(0);
}

static bool overlaps(const void *a, size_t n, const void *b, size_t m)
{
	return (const char *)a < (const char *)b + m && (const char *)b < (const char *)a + n;
}

bool disk_reads_from(const void *p, size_t bytes)
{
	for (uint32_t i = 0; i < S->threads; i++)
		if (S->t[i].from && overlaps(S->t[i].from, S->t[i].from_bytes, p, bytes))
			return true;
	for (unsigned i = 0; i < S->ios; i++)
		if (S->io[i]->write && overlaps(S->io[i]->buf, S->io[i]->len, p, bytes))
			return true;
	return false;
}

int64_t rt_file_write(struct rt_file *f, const void *buf, size_t len, uint64_t off)
{
	if (f->writable)
		transfer_begins(buf, len);
	machine_point("write", DISK, SIM_W);
	if (!f->writable)
		return -EBADF;
	int64_t err = sim_fails("file_write") ? write_error() : 0;
	machine_yield("writing", DISK, SIM_W);
	int64_t n = err ? fail_write((unsigned)f->id, buf, len, off, err)
			: do_write((unsigned)f->id, buf, len, off);
	machine_seen((uint64_t)n);
	transfer_ends();
	return n;
}

/* A file as a sync found it. */
struct synced {
	uint64_t word[SIM_FILE_PAGES][SIM_WORDS], durable[SIM_FILE_PAGES][SIM_WORDS];
	bool lost[SIM_FILE_PAGES][SIM_WORDS];
};

static void sync_begin(struct sim_file *f, struct synced *at)
{
	for (uint64_t p = 0; p < SIM_FILE_PAGES; p++)
		for (unsigned w = 0; w < SIM_WORDS; w++) {
			at->word[p][w] = *file_word(f, p, w);
			at->durable[p][w] = f->durable[p][w];
			at->lost[p][w] = f->lost[p][w];
		}
}

static void sync_end(struct sim_file *f, const struct synced *at, bool fails)
{
	for (uint64_t p = 0; p < SIM_FILE_PAGES; p++)
		for (unsigned w = 0; w < SIM_WORDS; w++) {
			if (fails) /* what came meanwhile may be lost with the rest */
				f->lost[p][w] |= *file_word(f, p, w) != f->durable[p][w];
			/* Another sync that ended meanwhile may have kept something newer. */
			else if (!at->lost[p][w] && !f->lost[p][w] &&
				 f->durable[p][w] == at->durable[p][w])
				f->durable[p][w] = at->word[p][w];
		}
}

int rt_file_sync(struct rt_file *f)
{
	struct sim_file *file = &S->file[f->id];
	struct synced at;

	machine_point("sync", DISK, SIM_W);
	bool fails = sim_fails("file_sync");
	sync_begin(file, &at);
	sim_yield("syncing");
	fails |= file->dead_syncs;
	machine_point(fails ? "the sync fails" : "synced", DISK, SIM_W);
	file->syncs++;
	sync_end(file, &at, fails);
	machine_seen(!fails);
	return fails ? -EIO : 0;
}

void rt_file_trim(struct rt_file *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

/* --- the queue -------------------------------------------------------------------------- */

static unsigned ready_ios(unsigned *first)
{
	unsigned n = 0;

	for (unsigned i = 0; i < S->ios; i++)
		if (!S->io_held[i])
			first[n++] = i;
	return n;
}

/* The device: completes what is there, in an order that is a choice. */
static void io_main(void *arg)
{
	(void)arg;
	for (;;) {
		unsigned at[SIM_IOS], n;
		machine_point("look", IOQ, SIM_R);
		while ((n = ready_ios(at)) == 0) {
			S->t[S->cur].state = SIM_IDLE_IO;
			machine_yield("no request", IOQ, SIM_R);
		}
		machine_point("complete", IOQ, SIM_W);
		n = ready_ios(at);
		unsigned i = at[sim_choose(n)];
		struct rt_io *io = S->io[i];
		E.site[S->cur] = S->io_site[i];
		if (io->write && pool_has(io->buf, io->len)) {
			S->t[S->cur].from = io->buf;
			S->t[S->cur].from_bytes = io->len;
		}
		S->ios--;
		for (; i < S->ios; i++) {
			S->io[i] = S->io[i + 1];
			S->io_held[i] = S->io_held[i + 1];
			S->io_site[i] = S->io_site[i + 1];
		}
		/* Its place among what others do to the device: a sync begins before or after. */
		machine_point("complete", DISK, io->write ? SIM_W : SIM_R);
		if (io->write && !io->file->writable)
			io->res = -EBADF;
		else if (sim_fails(io->write ? "io_write" : "io_read"))
			io->res = !io->write ? fail_read(io->buf, io->len)
					     : fail_write((unsigned)io->file->id, io->buf, io->len,
							  io->off, write_error());
		else if (io->write)
			io->res = do_write((unsigned)io->file->id, io->buf, io->len, io->off);
		else
			io->res = do_read(&S->file[io->file->id], io->buf, io->len, io->off);
		machine_seen((uint64_t)io->res);
		transfer_ends();
		ACQUIRE(io);
		io->done(io);
		RELEASE(IOQ);
	}
}

int rt_ioq_open(struct rt_ioq *q)
{
	if (sim_fails("ioq_open"))
		return -ENOMEM;
	S->io_thread = sim_spawn(io_main, NULL, "io", true);
	q->thread = S->io_thread;
	return q->thread < 0 ? -EAGAIN : 0;
}

void rt_ioq_close(struct rt_ioq *q)
{
	for (unsigned i = 0; i < S->ios; i++)
		if (S->io_held[i])
			sim_fail("CONTRACT",
				 "the queue is closed over a request that no flush has started");
	/* The last done() may be about to return. */
	while (S->ios > 0 || S->t[q->thread].state != SIM_IDLE_IO)
		rt_relax();
	ACQUIRE(IOQ);
	S->t[q->thread].state = SIM_FREE;
	S->io_thread = -1;
}

static void wake_device(void)
{
	if (S->t[S->io_thread].state == SIM_IDLE_IO)
		S->t[S->io_thread].state = SIM_READY;
}

void rt_ioq_flush(struct rt_ioq *q)
{
	(void)q;
	machine_point("io_flush", IOQ, SIM_W);
	for (unsigned i = 0; i < S->ios; i++)
		S->io_held[i] = false;
	if (S->ios)
		wake_device();
	machine_seen(S->ios);
}

void rt_ioq_submit(struct rt_ioq *q, struct rt_io *io, bool more)
{
	if (io->write)
		transfer_begins(io->buf, io->len);
	else
		check_not_in_pool(io->buf, io->len);
	machine_point("io_submit", IOQ, SIM_W);
	while (S->ios == SIM_IOS) {
		rt_ioq_flush(q);
		rt_relax();
	}
	RELEASE(io);
	S->io[S->ios] = io;
	if (S->cur >= 0)
		S->t[S->cur].from = NULL;                         /* the queue's, now */
	S->io_site[S->ios] = S->cur >= 0 ? E.site[S->cur] : NULL; /* it fails there, later */
	S->io_held[S->ios++] = more && E.knobs.lazy_more;
	if (!more)
		for (unsigned i = 0; i < S->ios; i++)
			S->io_held[i] = false;
	if (!more || !E.knobs.lazy_more)
		wake_device();
	machine_seen(S->ios);
}
