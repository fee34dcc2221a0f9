/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the simulated machine, as those see it who drive it (src/check, the tests).
 *
 * One OS thread. Simulated threads are fibers; one runs until it meets a scheduling
 * point: the moment before an operation of rt.h that another thread's could conflict
 * with. There the explorer picks who goes on. All that a run changes lies in one region
 * at a fixed address (`struct sim`, the pages of rt_pages_alloc(), the stacks), so that
 * a run is repeated exactly by putting the region back:
 *
 *     sim_reset() -> sim_setup(fn) -> sim_spawn()... -> sim_snapshot()
 *                                       sim_run() x N   each from the snapshot on
 *
 * Every choice is one of two calls of the explorer's: pick() (which thread) and choose()
 * (does this call fail, which request completes first). Nothing else varies.
 *
 * Visible operations. An operation on a word that, in all runs since sim_forget(), no
 * other thread's conflicted with is no scheduling point: a switch there has the same
 * effects as one at the thread's next point. A word that turns out to be shared later
 * sets E.grew, and an explorer that claims to be exhaustive starts again. Loads do not
 * conflict with loads, counts (rt_count_u64) not with counts, and the release of a lock
 * only with those who try it.
 */
#ifndef RT_SIM_SIM_H
#define RT_SIM_SIM_H

#include "rt/rt.h"

#define SIM_BASE         0x20000000ull /* low: inside what ASan and TSan allow */
#define SIM_THREADS      12
#define SIM_STACK        (64u << 10)
#define SIM_PAGES_BYTES  (96u << 10)
#define SIM_HELD         24
#define SIM_TLB          2
#define SIM_FRAMES       48
#define SIM_OBJECTS      4
#define SIM_OBJECT_PAGES 32
#define SIM_VIEWS        24
#define SIM_VPAGES       256 /* of address space, SIM_VBASE on */
#define SIM_VBASE        0x10000ull
#define SIM_POOLS        3
#define SIM_POOL_FRAMES  24   /* of all pools */
#define SIM_NO_OBJECT    0xff /* a view without one */
#define SIM_FILES        2
#define SIM_FILE_PAGES   16
#define SIM_IOS          8
#define SIM_WORDS        2 /* of each page, that content is judged by: sectors */
#define SIM_SECTOR       (RT_PAGE / SIM_WORDS)
#define SIM_WHOLE        0xfeu /* a store: to every word there is */

enum sim_class {
	SIM_R,
	SIM_W,
	SIM_C, /* counts */
	SIM_LOCK,
	SIM_TRY,
	SIM_UNLOCK,
	SIM_WAIT, /* looks at the word and joins those who sleep on it */
	SIM_WAKE, /* meets those alone */
	SIM_NONE,
};

enum sim_state { SIM_FREE, SIM_READY, SIM_ASLEEP, SIM_IDLE_IO, SIM_DONE };

struct sim_held {
	const void *lock;
	bool write;
};

struct sim_tlb {
	uint16_t vpage; /* 0: empty */
	uint16_t frame;
	bool writable;
};

struct sim_thread {
	void *sp; /* of the fiber, while it does not run */
	void (*fn)(void *);
	void *arg;
	char name[12];
	uint8_t state; /* enum sim_state */
	uint8_t cls;   /* of the pending operation */
	bool daemon;   /* the machine's or the core's own: a run ends without it */
	bool yields;   /* at this point it sleeps in I/O: a switch is no preemption */
	bool relaxes;  /* spins: not before somebody did something */
	bool in_lock;  /* waits for obj, a struct rt_lock */
	bool in_sync;  /* waits for readers */
	bool killed, signalled, woken, timed_out;
	const char *op; /* the pending operation, for people */
	const void *obj;
	uint32_t ops;      /* operations of rt.h so far: the key of a replay */
	uint32_t relax_at; /* S->moves then */
	uint64_t seen;     /* hash of all it has observed */
	uint64_t cause;    /* hash of all that came before its last operation, and caused it */
	uint64_t deadline; /* of its sleep, 0: none */
	rt_u32 *word;      /* it sleeps on */
	uint32_t rcu_depth, rcu_section;
	uint32_t sync_wants[SIM_THREADS]; /* sections to wait for, + 1 */
	struct sim_held held[SIM_HELD];
	uint32_t n_held;
	const void *wants; /* for people and the wait-for graph */
	struct sim_tlb tlb[SIM_TLB];
	uint8_t tlb_next;
	const void *from; /* a frame of a pool, which it writes to a file now; else NULL */
	size_t from_bytes;
};

struct sim_object {
	bool used;
	uint64_t pages;
	uint16_t frame[SIM_OBJECT_PAGES]; /* + 1; 0: not there */
};

struct sim_view {
	uint64_t addr, len, index; /* len 0: free */
	uint8_t object, rights;
	bool private, reserved;
	bool parted; /* is one for itself, whatever lies beside it */
};

#define SIM_PTE_PRESENT 1
#define SIM_PTE_WP      2
#define SIM_PTE_OWN     4
struct sim_pte {
	uint16_t frame;
	uint8_t flags;
	uint8_t zero;
} __attribute__((aligned(4)));

/* Frames [first, first+frames) of all; none: closed. */
struct sim_pool {
	uint16_t first, frames;
};

struct sim_file {
	bool used;
	bool dead_reads, dead_writes, dead_syncs; /* every one fails from here on */
	bool hangs;                               /* no read comes back */
	int full;                                 /* bytes from here on are ENOSPC; -1: none */
	uint64_t size;
	uint32_t reads, writes, syncs;
	uint32_t page_reads[SIM_FILE_PAGES];
	uint64_t durable[SIM_FILE_PAGES][SIM_WORDS]; /* survives a crash for sure */
	bool lost[SIM_FILE_PAGES][SIM_WORDS];        /* a sync failed since it was written */
	uint8_t page[SIM_FILE_PAGES][RT_PAGE];       /* the volatile cache: what a read gives */
};

/* What a run changes; at SIM_BASE. */
struct sim {
	struct sim_thread t[SIM_THREADS];
	uint32_t threads;
	int cur;             /* -1: the driver itself */
	uint32_t rcu;        /* the word that sections and grace periods conflict on */
	uint32_t moves;      /* points passed, by anyone */
	uint32_t steps;      /* ... that were visible */
	uint32_t idles;      /* times that only the clock could move */
	uint32_t jumps;      /* ... in all, in this run */
	uint32_t preempts;   /* switches in this run that were not forced */
	uint32_t idle_since; /* idles since a thread that is no daemon did something */
	uint64_t clock;
	bool quiet; /* no choices: the driver's set-up and tear-down */
	uint32_t used_pages, pages_high;
	uint64_t page_map[SIM_PAGES_BYTES / RT_PAGE / 64 + 1];
	uint32_t failures; /* fallible calls so far that were made to fail */
	uint32_t fallible; /* calls so far that could have been */
	struct rt_io *io[SIM_IOS];
	bool io_held[SIM_IOS];             /* submitted with more to follow */
	struct sim_site *io_site[SIM_IOS]; /* where */
	uint32_t ios;
	int io_thread; /* -1: none */
	/* From here on: put back only if an operation of the machine's went before. */
	struct sim_object object[SIM_OBJECTS];
	struct sim_view view[SIM_VIEWS];
	struct sim_pte pte[SIM_VPAGES] __attribute__((aligned(16)));
	uint16_t frame_free[SIM_FRAMES];
	uint32_t frames_free;
	struct sim_pool pool[SIM_POOLS];
	uint16_t pool_frame[SIM_POOL_FRAMES]; /* the frame it costs, + 1; 0: not there */
	struct sim_file file[SIM_FILES];
	uint8_t frame[SIM_FRAMES][RT_PAGE];
	uint8_t pool_page[SIM_POOL_FRAMES][RT_PAGE]; /* poison where none is there */
};

#define SIM_SIZE   ((sizeof(struct sim) + 4095) & ~4095ull)
#define SIM_PAGES  (SIM_BASE + SIM_SIZE)
#define SIM_STACKS (SIM_PAGES + SIM_PAGES_BYTES)
#define SIM_END    (SIM_STACKS + SIM_THREADS * SIM_STACK)

#define S ((struct sim *)SIM_BASE)

/* SIM_FAIL may go on failing; SIM_ONCE is over when it is tried again: woken for nothing,
 * -EAGAIN. */
enum sim_choice { SIM_FAIL, SIM_VALUE, SIM_ONCE };

enum sim_status {
	SIM_RUNNING,
	SIM_OK,     /* every thread that is not a daemon came to its end */
	SIM_PRUNED, /* the explorer gave it up */
	SIM_BROKEN, /* E.invariant, E.story */
};

/* How this machine behaves; constant over a run. */
struct sim_knobs {
	bool reuse_last;  /* freed pages are taken again at once, else as late as can be */
	bool tlb;         /* translations are kept until flushed */
	bool rcu_late;    /* a grace period ends when no other thread can go on */
	bool short_reads; /* a read stops at each sector */
	bool lazy_more;   /* a request with more to follow waits for the flush */
};

/* What happens to a page of a view without an object. Of the machine: its entry, the moment
 * before; of the core, by its notes: what it is to those who look at the address. */
enum sim_page {
	SIM_PAGE_FILL,  /* addr */
	SIM_PAGE_TAKE,  /* addr -> frame of the pool: is unmapped now, and there after the flush */
	SIM_PAGE_PUT,   /* frame of the pool -> addr */
	SIM_PAGE_MOVE,  /* src -> dst: the first is unmapped now */
	SIM_PAGE_DROP,  /* frame of the pool, which is there */
	SIM_PAGE_MOVED, /* src -> dst: it is there in this step */
	SIM_PAGE_LOST,  /* addr */
};

/* The driver's side: not part of a run. */
struct sim_engine {
	/* pick - a thread of `enabled`; -1: give the run up. must: cur cannot go on, or
	 * sleeps in I/O: a switch is not a preemption. */
	int (*pick)(void *x, uint32_t enabled, int cur, bool must);
	/* choose - 0 .. n-1; 0 is the usual. */
	unsigned (*choose)(void *x, enum sim_choice kind, unsigned n);
	void *explorer;
	struct sim_knobs knobs;
	bool all_visible; /* no reduction at all */
	bool all_picks;   /* pick() also where one thread alone can go on */
	bool all_points;  /* every operation is a point (replay) */
	bool causes;      /* keep S->t[].cause, for sim_cause_hash() */
	bool grew;        /* a word turned out to be shared */
	bool sparing;     /* finish() need not take the world down this time */
	bool trace;       /* keep the hash, call on_op() */
	uint64_t hash;
	void (*on_op)(const char *op, const void *obj, uint64_t value);
	void (*on_switch)(int from, int to);
	void (*on_note)(const char *text); /* what a thread is about to do, for people */
	uint32_t max_steps;
	uint32_t run; /* its number, for the covers */
	enum sim_status status;
	char invariant[16];
	char story[2048];
	/* of the fallible call that each thread makes */
	struct sim_site *site[SIM_THREADS];
	const struct sim_site *asking; /* choose() for; NULL: none of the core's */
	const char *fault;             /* the last failure that was made, for people */
	/* The checker's own look at what the machine does; NULL: none. */
	void (*on_map)(uint64_t vaddr, unsigned object, uint64_t index, bool copied);
	void (*on_drop)(unsigned object, uint64_t index, uint64_t n);
	void (*on_page)(enum sim_page what, uint64_t from, uint64_t to);
	void (*on_write)(unsigned file, uint64_t page, unsigned word, uint64_t value);
	/* The current thread will wait for this lock, if it must. */
	void (*on_want)(const void *lock);
	void (*on_failure)(const struct sim_site *site);
};

extern struct sim_engine E;

/* --- driving */
void sim_reset(void);
/* sim_setup - run fn as a thread, without choices, until it returns. False: E.story. */
bool sim_setup(void (*fn)(void *), void *arg);
int sim_spawn(void (*fn)(void *), void *arg, const char *name, bool daemon);
void sim_snapshot(void);
enum sim_status sim_run(void);
/* sim_quietly - go on from where the run ended: run fn as a thread, without choices. */
bool sim_quietly(void (*fn)(void *), void *arg);
/* sim_guarded - fn(arg), on the driver's side; false also when it fails or crashes. */
bool sim_guarded(bool (*fn)(const void *arg), const void *arg);
/* sim_catch_crashes - from now on a SIGSEGV (and its like) of a run is a failure of that
 * run, CRASH. Once, by a process that runs no native machine; sanitizers see it first. */
void sim_catch_crashes(void);
/* sim_forget - no word is known to be shared. */
void sim_forget(void);
uint64_t sim_state_hash(void); /* all that decides what comes: memory, stacks, clock apart */
/* sim_cause_hash - of where each thread is, and of all that led there, but not of the
 * order in which what is independent happened. Needs: E.causes since the run began. */
uint64_t sim_cause_hash(void);
uint64_t sim_seen_hash(void); /* what each thread has observed, and final memory */

/* --- for code that runs as a simulated thread */
/* sim_point - a visible operation of the driver's own, on `obj`. */
void sim_point(const char *op, const void *obj, enum sim_class cls);
/* sim_yield - sleep in I/O: others may go on, at no cost. */
void sim_yield(const char *op);
void sim_kill(int thread);
int sim_self(void);
/* sim_lock_holder - of a struct rt_lock that somebody holds. */
int sim_lock_holder(const void *lock);
_Noreturn void sim_fail(const char *invariant, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool sim_fails(const char *what);   /* does this fallible call fail? */
bool sim_hiccups(const char *what); /* the same, and it would work when tried again */
uint64_t sim_hash(uint64_t h, const void *p, size_t n);

/* --- the program's own loads and stores; see mmu.c */
enum sim_access { SIM_ACCESS_OK, SIM_ACCESS_FAULT, SIM_ACCESS_SEGV };
/* One try at the word of a page: OK, and *value was read or written, in one step with
 * done(arg), or FAULT: the page must be brought in; SEGV: no view, or no right. */
enum sim_access sim_access(uint64_t vaddr, unsigned word, bool write, uint64_t *value,
			   void (*done)(void *arg, uint64_t value), void *arg);
/* What a view shows at this address, of SIM_NO_OBJECT when it has none; false: no view. */
bool sim_view_at(uint64_t vaddr, unsigned *object, uint64_t *index);
/* Does any TLB or page table still show this frame? */
bool sim_frame_mapped(unsigned frame);

/* --- the files; the driver's, before the snapshot or as a simulated program's call */
void sim_file_new(unsigned file, uint64_t size);
uint64_t sim_file_word(unsigned file, uint64_t page, unsigned word);
void sim_file_truncate(unsigned file, uint64_t size);

/* --- names, for people */
const char *sim_name_of(const void *p, char *buf, size_t n);
const char *sim_class_of(const void *lock);

extern struct sim_cover __start_sim_covers[], __stop_sim_covers[];
extern struct sim_site __start_sim_sites[], __stop_sim_sites[];

#endif
