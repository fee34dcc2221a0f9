/* SPDX-License-Identifier: MIT */
/*
 * world.h - what a scenario's run consists of: an mm, its files and regions, and the
 * shadow that says what each load may see.
 *
 * One world at a time. It lies in pages of the simulated machine, so that it is put back
 * with everything else; `W` is where.
 *
 *   world.c    builds it, runs the operations, takes it down
 *   shadow.c   which values a word may have, now
 *   oracle.c   what must hold between the mm's parts when nothing moves
 */
#ifndef CHECK_WORLD_H
#define CHECK_WORLD_H

#include "check/scenario.h"
#include "core/mm.h"

#define CELL_VALUES 6
#define TOKENS_EACH 32 /* stores and writes of one thread, in a run */
#define TOKENS      (SCENARIO_THREADS * TOKENS_EACH)
#define TOKEN_SHIFT 8  /* a token: its number, and the thread + 1 */

/*
 * The shadow of one word. Between calls exactly one value is right; while a call that
 * changes it is under way, or after one that may or may not have, several are.
 */
struct cell {
	uint64_t value[CELL_VALUES];
	uint8_t values;
	uint8_t writers; /* calls under way that change it from outside */
	bool quiet;      /* no store since the size began to change */
	bool any;        /* nothing is known: another process had its hands in it */
	bool beyond;     /* in the last page, past the end: stores may or may not stay */
};

struct world {
	struct mm mm;
	const struct scenario *scenario;
	uint8_t tokens[SCENARIO_THREADS]; /* given out: whoever comes first, they are the same */
	uint64_t budget_base; /* bytes that `memory 0` would be */
	uint64_t retries;     /* of faults, when the threads started */
	uint64_t baseline;    /* pages in use when nothing of the mm is there */
	struct cell cell[SIM_FILES][SIM_FILE_PAGES][SIM_WORDS];
	bool owned[SCENARIO_REGIONS][SIM_FILE_PAGES];
	/* calls under way that drop own pages, and whether one met a store: then whose
	 * content the page has is not known until it is stored to again */
	uint8_t droppers[SCENARIO_REGIONS][SIM_FILE_PAGES];
	bool unsure[SCENARIO_REGIONS][SIM_FILE_PAGES];
	/* the pages of anonymous regions: one right value at each moment */
	uint64_t anon[SCENARIO_REGIONS][SIM_FILE_PAGES][SIM_WORDS];
	bool moving[SIM_THREADS];   /* it is in quire_move() */
	uint8_t moved[SIM_THREADS]; /* pages that went meanwhile */
	uint64_t last_token[SCENARIO_THREADS];
	uint32_t order[TOKENS]; /* of a token: when it was written; 0: not yet */
	uint16_t where[TOKENS]; /* of a token: which word of which file it was for */
	uint32_t writes;
	uint64_t addr[SCENARIO_REGIONS];
	uint8_t region_file[SCENARIO_REGIONS]; /* as the last map of it said */
	int region_page[SCENARIO_REGIONS];
	int tid[SCENARIO_THREADS];
	uint8_t pins[SCENARIO_REGIONS][SIM_FILE_PAGES][2]; /* r, rw */
	bool pins_gone;
	bool outside;     /* another process changed a file */
	bool sizes_moved; /* some file changed its size */
	bool bad_disk;    /* the scenario made reads or writes fail */
	/* A private view's own pages, by region and page of it. Only up to the last region
	 * that is private: what is not there need not be put back for each run. */
	struct cell own[SCENARIO_REGIONS][SIM_FILE_PAGES][SIM_WORDS];
};

extern struct world *W;

/* --- shadow.c */
void shadow_reset(void);
/* A load of `value` was made at a word, or a store. Within the step of the access. */
struct place {
	unsigned file, word;
	int page;             /* of the file */
	int region, own_page; /* region: a private one, and the page of it; -1: shared */
};
void shadow_loaded(const struct place *p, uint64_t value);
void shadow_stored(const struct place *p, uint64_t value);
/* A call that writes words of the file from outside the mappings: begin, end. */
void shadow_write_begin(unsigned file, int page, unsigned word, uint64_t token);
void shadow_write_end(unsigned file, int page, unsigned word, uint64_t token, bool done);
/* The size changes to `size` bytes; from `old`. */
void shadow_size_begin(unsigned file, uint64_t size, uint64_t old);
void shadow_size_end(unsigned file, uint64_t size, uint64_t old);
/* A call that drops private pages of the region: they go back to the file's. */
void shadow_drop_begin(unsigned region, int page, int pages);
void shadow_drop_end(unsigned region, int page, int pages);
/* Nothing is known of the file's words from this byte on. */
void shadow_unknown(unsigned file, uint64_t from);
/* The region that has this address, and the page of it; false: none that is anonymous. */
bool shadow_anon_at(uint64_t addr, unsigned *region, int *page);
/* A load or store of a word of an anonymous page; SIM_WHOLE: a store all over it. */
void shadow_anon_loaded(unsigned region, int page, unsigned word, uint64_t value);
void shadow_anon_stored(unsigned region, int page, unsigned word, uint64_t value);
void shadow_anon_moved(uint64_t src, uint64_t dst);
void shadow_anon_lost(uint64_t addr);
bool shadow_allows(unsigned file, int page, unsigned word, uint64_t value);
/* The one token that must be on the device if a sync begins now; 0: not known. */
uint64_t shadow_must_sync(unsigned file, int page, unsigned word);
/* Was `later` written after `earlier`, or is it that? A value that is no token is the
 * first of all. */
bool shadow_follows(uint64_t later, uint64_t earlier);

/* --- oracle.c */
/* The file that an object of the machine holds pages of; -1: none. */
int oracle_file_of(unsigned object);
/* Everything that holds when nobody is inside a call. Calls check_broken(). */
bool oracle_quiescent(void);
/* At the moment of a hardware mapping. */
void oracle_on_map(uint64_t vaddr, unsigned object, uint64_t index, bool copied);
/* At the moment a thread decides to wait for a lock of the core's. */
void oracle_on_want(const void *wants);
void oracle_on_page(enum sim_page what, uint64_t from, uint64_t to);
void oracle_on_write(unsigned file, uint64_t page, unsigned word, uint64_t value);
/* Has the folio an entry? As the driver sees it. */
bool oracle_has_entry(const struct folio *f);
void oracle_on_drop(unsigned object, uint64_t index, uint64_t n);

#endif
