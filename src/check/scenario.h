/* SPDX-License-Identifier: MIT */
/*
 * scenario.h - threads as lists of operations over named files and regions.
 *
 * The text form is docs/scenario.md's; scenario_parse() reads it. scenario_program()
 * turns one into a program: an mm on the simulated machine, one simulated thread for
 * each thread, a shadow of every file that each load is compared with (world.c).
 *
 *     title two faults on one page: one read
 *     file A 4                        # pages; "A 4.5": the last one is half
 *     region r A 0 4 shared rw        # file, first page, pages, shared|private, r|rw
 *     region a anon 4 rw              # anonymous memory: pages, r|rw
 *     swap 2                          # a swap store of two slots, the file `swap`
 *     memory 12                       # frames, beyond what metadata takes
 *     thread t1
 *             read r 0
 *     thread t2
 *             read r 0
 *     expect reads A 0 <= 1
 */
#ifndef CHECK_SCENARIO_H
#define CHECK_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check/program.h"

#define SCENARIO_THREADS 4
#define SCENARIO_OPS     16 /* of a thread */
#define SCENARIO_REGIONS 4
#define SCENARIO_FILES   SIM_FILES
#define SCENARIO_EXPECTS 8
#define SCENARIO_NAME    16

enum op_kind {
	OP_READ,     /* region page [word]: a load; compared with the shadow */
	OP_WRITE,    /* region page [word]: a store of a new token */
	OP_FILL,     /* region page: a store of one new word all over an anonymous page */
	OP_WALK,     /* region page: find the page's entry from its folio, by the reverse map */
	OP_NOWAIT,   /* region page: a fault that may not wait (populate's first pass) */
	OP_POPULATE, /* region page pages r|rw */
	OP_MAP,      /* region: map it as declared, at its old address if it had one; region
			as=FILE [page]: another file's pages at that address. Both: op's
			file and page say what is to be mapped; has_range: by as= */
	OP_UNMAP,    /* region [page pages] */
	OP_PROTECT,  /* region [page pages] none|r|rw */
	OP_ADVISE, /* region [page pages] normal|random|sequential|willneed|dontneed|cold|pageout */
	OP_SYNC,   /* region [page pages]: msync(MS_SYNC); what it promises is checked */
	OP_ASYNC,  /* ... MS_ASYNC */
	OP_REMAP,  /* region pages [move]: mremap to that many pages */
	OP_PIN,    /* region page pages r|rw */
	OP_UNPIN,  /* region page pages */
	OP_MOVE,   /* region page, from_region from_page, pages [holes]: quire_move() */
	OP_RESIDENT,  /* region */
	OP_TRUNCATE,  /* file pages: ftruncate by this process; in op's page and half */
	OP_OUTSIDE,   /* file pages: by another process, which nobody tells us of */
	OP_REFRESH,   /* the pager's look at sizes */
	OP_PWRITE,    /* file page [word]: write(2) of a new token */
	OP_RECLAIM,   /* [rounds]: a round of reclaim, or as many as op's pages say */
	OP_WRITEBACK, /* write out what is dirty, in the background's way */
	OP_BUDGET,    /* frames: set_memory; in op's pages */
	OP_FREEZE,    /* freeze the mm and thaw it: fork(2) */
	OP_KILL,      /* thread */
	OP_FAIL,      /* file reads|writes|none: every one fails from here on, enum scenario_fail */
	OP_FULL,      /* file pages|never: the device has room for that much; -1: for all */
	OP_AFTER,     /* thread: wait until that thread has ended */
};

enum op_result {
	RESULT_OK = 1u << 0,
	RESULT_SIGBUS = 1u << 1,
	RESULT_SEGV = 1u << 2,
	RESULT_ENOMEM = 1u << 3,
	RESULT_KILLED = 1u << 4,
	RESULT_ERROR = 1u << 5, /* any other errno */
	RESULT_BUSY = 1u << 6,  /* EBUSY */
	RESULT_EXIST = 1u << 7, /* EEXIST */
	RESULT_ANY = 0xff,
};

struct scenario_op {
	uint8_t kind; /* enum op_kind */
	uint8_t region, file, thread;
	uint8_t word;
	uint8_t how;    /* rights (RT_READ|RT_WRITE), enum scenario_advice, enum scenario_fail */
	bool has_range; /* page, pages were given */
	bool move;
	bool holes;
	uint8_t from_region, from_page;
	int page, pages, half; /* half: OP_TRUNCATE, OP_OUTSIDE: and half a page more */
	uint8_t expect;        /* enum op_result, or-ed; what may come */
	int line;              /* of the text */
};

enum scenario_advice {
	ADVICE_NORMAL,
	ADVICE_RANDOM,
	ADVICE_SEQUENTIAL,
	ADVICE_WILLNEED,
	ADVICE_DONTNEED,
	ADVICE_COLD,
	ADVICE_PAGEOUT,
};

/* OP_FAIL: instead of what failed before. */
enum scenario_fail { FAIL_NONE, FAIL_READS, FAIL_WRITES, FAIL_SYNCS, FAIL_HANGS };

struct scenario_region {
	char name[SCENARIO_NAME];
	uint8_t file, rights;
	bool private;
	bool anon;     /* no file, no page of it */
	bool unmapped; /* declared, but not mapped before the threads start */
	int page, pages;
};

struct scenario_thread {
	char name[SCENARIO_NAME];
	struct scenario_op op[SCENARIO_OPS];
	unsigned ops;
};

enum expect_what {
	EXPECT_READS,   /* file page: device reads of it */
	EXPECT_WORD,    /* file page word: on the device at the end, after write-back, is the
			   token that thread wrote last (thread >= 0), or as at the start */
	EXPECT_RETRIES, /* of all faults together */
	EXPECT_MAJOR,   /* major faults */
	EXPECT_VMAS,    /* when all threads have ended: what is equal has become one */
	EXPECT_LOST,    /* reads that were made for a fault and gone before it mapped them */
};

struct scenario_expect {
	uint8_t what; /* enum expect_what */
	uint8_t file, word;
	int page, thread;
	char cmp; /* '<': at most, '=', '>': at least */
	uint64_t value;
	int line;
};

struct scenario {
	char name[48], title[96];
	struct {
		char name[SCENARIO_NAME];
		int pages, half; /* half: half a page more */
	} file[SCENARIO_FILES];
	struct scenario_region region[SCENARIO_REGIONS];
	struct scenario_thread thread[SCENARIO_THREADS];
	/* before the threads start, without choices: to bring pages in */
	struct scenario_op before[SCENARIO_OPS];
	struct scenario_expect expect[SCENARIO_EXPECTS];
	unsigned files, regions, threads, befores, expects;
	unsigned swap; /* slots of the swap store, which is file swap_file; 0: none */
	unsigned swap_file;
	unsigned memory; /* frames; 0: plenty */
	unsigned ahead;  /* pages of readahead; 0: none */
	bool tiny;
};

/* scenario_parse - 0, or the line that is wrong; why says what was seen and what is
 * expected there. `name` is the file's, without its ending. */
int scenario_parse(struct scenario *s, const char *name, const char *text, char *why, size_t n);
/* scenario_program - *p runs s; both stay the caller's. */
void scenario_program(const struct scenario *s, struct program *p);
/* scenario_op_print - as it would be written, for people. */
void scenario_op_print(const struct scenario *s, const struct scenario_op *op, char *buf, size_t n);

/* The texts that are built in: from test/sim, by the build. */
struct scenario_text {
	const char *name, *text;
};
extern const struct scenario_text scenario_texts[]; /* name NULL: the end */

#endif
