/* SPDX-License-Identifier: MIT */
/*
 * shadow.c - which values a word may have. See world.h.
 *
 * A load or store updates the shadow in the same step as the access, so that single
 * accesses need no search for an order: the step is their place in it. Calls that take
 * many steps (write, ftruncate) widen what is allowed when they begin and narrow it when
 * they end. A load that finds one of several values narrows it too, unless a call is
 * under way: memory that was seen to hold a value holds it until somebody writes.
 *
 * Loads and stores read what such a call has widened: begin and end are operations on the
 * same object as theirs, or an exhaustive search would not try both orders.
 */
#include <string.h>

#include "check/world.h"

static struct cell *cell_of(unsigned file, int page, unsigned word)
{
	return &W->cell[file][page][word];
}

static void set(struct cell *c, uint64_t value)
{
	c->value[0] = value;
	c->values = 1;
}

static void allow(struct cell *c, uint64_t value)
{
	for (unsigned i = 0; i < c->values; i++)
		if (c->value[i] == value)
			return;
	if (c->values == CELL_VALUES)
		c->any = true; /* more than we follow */
	else
		c->value[c->values++] = value;
}

static bool allows(const struct cell *c, uint64_t value)
{
	if (c->any || (c->beyond && value == 0))
		return true;
	for (unsigned i = 0; i < c->values; i++)
		if (c->value[i] == value)
			return true;
	return false;
}

void shadow_reset(void)
{
	memset(W->cell, 0, sizeof(W->cell));
	memset(W->owned, 0, sizeof(W->owned));
	memset(W->droppers, 0, sizeof(W->droppers));
	memset(W->unsure, 0, sizeof(W->unsure));
	memset(W->anon, 0, sizeof(W->anon));
	for (unsigned f = 0; f < W->scenario->files; f++)
		for (int p = 0; p < SIM_FILE_PAGES; p++)
			for (unsigned w = 0; w < SIM_WORDS; w++) {
				struct cell *c = cell_of(f, p, w);
				set(c, sim_file_word(f, (uint64_t)p, w));
				c->beyond =
					(uint64_t)p * RT_PAGE + w * SIM_SECTOR >= S->file[f].size;
			}
}

static _Noreturn void wrong(const struct cell *c, unsigned file, int page, unsigned word,
			    uint64_t value)
{
	sim_fail("DATA", "%s loads %#llx at word %u of page %d of file %s; right is %#llx%s",
		 S->t[S->cur].name, (unsigned long long)value, word, page,
		 W->scenario->file[file].name, (unsigned long long)c->value[0],
		 value == 0xdeaddeaddeaddeadull ? " (a frame that was freed)"
		 : c->values > 1                ? " or another"
						: "");
}

static uint16_t place_code(unsigned file, int page, unsigned word)
{
	return (uint16_t)(1 + (file * SIM_FILE_PAGES + (unsigned)page) * SIM_WORDS + word);
}

static void note_order(unsigned file, int page, unsigned word, uint64_t token)
{
	if (token >> TOKEN_SHIFT >= TOKENS)
		return;
	W->order[token >> TOKEN_SHIFT] = ++W->writes;
	W->where[token >> TOKEN_SHIFT] = place_code(file, page, word);
}

/* Can this word of the file ever have had the value? */
static bool plausible(unsigned file, int page, unsigned word, uint64_t value)
{
	uint64_t at_first = 0xf000000000ull | (uint64_t)file << 16 | (uint64_t)page << 4 | word;

	return value == 0 || value == at_first ||
	       (value >> TOKEN_SHIFT < TOKENS &&
		W->where[value >> TOKEN_SHIFT] == place_code(file, page, word));
}

void shadow_loaded(const struct place *p, uint64_t value)
{
	struct cell *c = cell_of(p->file, p->page, p->word);

	if (p->region >= 0 && W->unsure[p->region][p->own_page]) {
		if (!plausible(p->file, p->page, p->word, value))
			wrong(c, p->file, p->page, p->word, value);
		return;
	}
	if (p->region >= 0 && W->owned[p->region][p->own_page]) {
		struct cell *own = &W->own[p->region][p->own_page][p->word];
		if (own->values == 0 || own->any) {
			/* Copied from the file at some moment we do not know. */
			if (!plausible(p->file, p->page, p->word, value))
				wrong(c, p->file, p->page, p->word, value);
			set(own, value);
			own->any = false;
		} else if (!allows(own, value)) {
			wrong(own, p->file, p->page, p->word, value);
		}
		return;
	}
	if (!allows(c, value))
		wrong(c, p->file, p->page, p->word, value);
	if (c->writers == 0 && !c->any && p->region < 0)
		set(c, value);
}

static uint32_t order_of(uint64_t value)
{
	return value >> TOKEN_SHIFT < TOKENS ? W->order[value >> TOKEN_SHIFT] : 0;
}

bool shadow_follows(uint64_t later, uint64_t earlier)
{
	return order_of(later) >= order_of(earlier);
}

void shadow_stored(const struct place *p, uint64_t value)
{
	struct cell *c = cell_of(p->file, p->page, p->word);

	note_order(p->file, p->page, p->word, value);
	if (p->region >= 0) {
		if (!W->owned[p->region][p->own_page] || W->unsure[p->region][p->own_page]) {
			W->owned[p->region][p->own_page] = true;
			for (unsigned w = 0; w < SIM_WORDS; w++)
				W->own[p->region][p->own_page][w].values = 0;
		}
		set(&W->own[p->region][p->own_page][p->word], value);
		/* It may be dropped at once; the other word may be the file's or an old one. */
		W->unsure[p->region][p->own_page] = W->droppers[p->region][p->own_page] > 0;
		return;
	}
	c->quiet = false;
	if (c->writers)
		allow(c, value); /* which of them came last is not known yet */
	else
		set(c, value);
}

void shadow_drop_begin(unsigned region, int page, int pages)
{
	sim_point("shadow", S->pte, SIM_W);
	for (int p = page; p < page + pages && p < SIM_FILE_PAGES; p++) {
		W->droppers[region][p]++;
		W->unsure[region][p] = true; /* the page, or none, for who looks meanwhile */
		W->owned[region][p] = false;
	}
}

void shadow_drop_end(unsigned region, int page, int pages)
{
	sim_point("shadow", S->pte, SIM_W);
	for (int p = page; p < page + pages && p < SIM_FILE_PAGES; p++)
		if (--W->droppers[region][p] == 0 && !W->owned[region][p])
			W->unsure[region][p] = false;
}

void shadow_write_begin(unsigned file, int page, unsigned word, uint64_t token)
{
	sim_point("shadow", S->pte, SIM_W);

	struct cell *c = cell_of(file, page, word);

	c->quiet = false;
	c->writers++;
	allow(c, token);
	note_order(file, page, word,
		   token); /* it may be there from now on, and is when the call ends */
}

void shadow_write_end(unsigned file, int page, unsigned word, uint64_t token, bool done)
{
	sim_point("shadow", S->pte, SIM_W);

	struct cell *c = cell_of(file, page, word);

	c->writers--;
	note_order(file, page, word, token);
	/* Only what was there before and it: it won. A store meanwhile: either. */
	if (done && c->writers == 0 && c->values == 2 && c->value[1] == token)
		set(c, token);
	if (done)
		c->beyond = false;
}

void shadow_size_begin(unsigned file, uint64_t size, uint64_t old)
{
	sim_point("shadow", S->pte, SIM_W);

	uint64_t low = size < old ? size : old;

	W->sizes_moved = true;
	for (uint64_t at = low / SIM_SECTOR; at < SIM_FILE_PAGES * SIM_WORDS; at++) {
		struct cell *c = cell_of(file, (int)(at / SIM_WORDS), at % SIM_WORDS);
		if (at * SIM_SECTOR < low)
			continue;
		c->quiet = c->writers == 0;
		c->writers++;
		allow(c, 0);
	}
}

void shadow_size_end(unsigned file, uint64_t size, uint64_t old)
{
	sim_point("shadow", S->pte, SIM_W);

	uint64_t low = size < old ? size : old;

	for (uint64_t at = low / SIM_SECTOR; at < SIM_FILE_PAGES * SIM_WORDS; at++) {
		struct cell *c = cell_of(file, (int)(at / SIM_WORDS), at % SIM_WORDS);
		if (at * SIM_SECTOR < low)
			continue;
		c->writers--;
		c->beyond = at * SIM_SECTOR >= size;
		/* Whole pages are gone, whatever was stored meanwhile; so is the rest of the last
		 * one, unless somebody did. */
		if (c->writers == 0 &&
		    ((at / SIM_WORDS * RT_PAGE >= low && size < old) || c->quiet))
			set(c, 0);
	}
}

void shadow_unknown(unsigned file, uint64_t from)
{
	sim_point("shadow", S->pte, SIM_W);
	W->outside = W->sizes_moved = true;
	for (uint64_t at = from / SIM_SECTOR; at < SIM_FILE_PAGES * SIM_WORDS; at++)
		cell_of(file, (int)(at / SIM_WORDS), at % SIM_WORDS)->any = true;
}

bool shadow_allows(unsigned file, int page, unsigned word, uint64_t value)
{
	return allows(cell_of(file, page, word), value);
}

uint64_t shadow_must_sync(unsigned file, int page, unsigned word)
{
	const struct cell *c = cell_of(file, page, word);

	return c->any || c->beyond || c->writers || c->values != 1 ? 0 : c->value[0];
}

/* --- anonymous memory ------------------------------------------------------------------
 *
 * Its pages begin as zeros, and what becomes of them is known to the step: a store, as any
 * other; a page that is moved, or lost, when the machine or the core's note says so, at which
 * moment nobody can reach it. So there is one right value, and calls under way widen nothing.
 * A cell belongs to the region: mremap takes it along by the region's new address.
 */

bool shadow_anon_at(uint64_t addr, unsigned *region, int *page)
{
	for (unsigned r = 0; r < W->scenario->regions; r++) {
		uint64_t at = W->addr[r];
		if (!W->scenario->region[r].anon || !at || addr < at ||
		    addr >= at + SIM_FILE_PAGES * RT_PAGE)
			continue;
		*region = r;
		*page = (int)((addr - at) / RT_PAGE);
		return true;
	}
	return false;
}

void shadow_anon_loaded(unsigned region, int page, unsigned word, uint64_t value)
{
	uint64_t right = W->anon[region][page][word];

	if (value != right)
		sim_fail("DATA",
			 "%s loads %#llx at word %u of page %d of region %s; right is %#llx%s",
			 S->t[S->cur].name, (unsigned long long)value, word, page,
			 W->scenario->region[region].name, (unsigned long long)right,
			 value == 0xdeaddeaddeaddeadull ? " (a frame that was freed)" : "");
}

void shadow_anon_stored(unsigned region, int page, unsigned word, uint64_t value)
{
	for (unsigned w = 0; w < SIM_WORDS; w++)
		if (word == w || word == SIM_WHOLE)
			W->anon[region][page][w] = value;
}

void shadow_anon_moved(uint64_t src, uint64_t dst)
{
	unsigned from, to;
	int page, to_page;

	/* The place that mremap moves to is no region's yet. */
	if (!shadow_anon_at(src, &from, &page) || !shadow_anon_at(dst, &to, &to_page))
		return;
	for (unsigned w = 0; w < SIM_WORDS; w++) {
		if (W->anon[to][to_page][w] != 0)
			sim_fail("DATA", "%s moves a page over page %d of region %s",
				 S->t[S->cur].name, to_page, W->scenario->region[to].name);
		W->anon[to][to_page][w] = W->anon[from][page][w];
		W->anon[from][page][w] = 0;
	}
}

void shadow_anon_lost(uint64_t addr)
{
	unsigned region;
	int page;

	if (shadow_anon_at(addr, &region, &page))
		memset(W->anon[region][page], 0, sizeof(W->anon[region][page]));
}
