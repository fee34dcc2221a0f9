/* SPDX-License-Identifier: MIT */
/*
 * pgtable.h - the software page table: what is mapped where, exactly.
 *
 * The upper levels are one radix map from address >> TABLE_SHIFT to a table of
 * PTES entries; each table has its own lock (the split pte lock). An entry and the
 * machine's entry change together under that lock, so that under it the two agree:
 *
 *     none --pgtable_map--> present|wp --pte_make_writable--> present
 *       ^                   |  ^------pgtable_mkclean-------|
 *       |                   v                               v
 *       +------------- pgtable_zap ------------------------+
 *     private views: none or present|wp --pte_own--> own --pgtable_zap--> none
 *
 * Anonymous memory (anon.h; the arrows are there), all of it `own` as well:
 *
 *     none --first touch--> present --reclaim--> idle --written--> swap
 *                              ^------------------+------------------+
 *     idle or swap, of one word alone --> same; of zeros, never written --> none
 *
 * An entry that is present and not wp belongs to a folio that is dirty.
 *
 * A table appears once, under mm->tables_lock, only where there is none; it goes
 * when no VMA is left in its range (mmap_lock for writing, and no walker: those
 * hold a view's lock).
 */
#ifndef CORE_PGTABLE_H
#define CORE_PGTABLE_H

#include "core/config.h"
#include "core/folio.h"
#include "core/vma.h"
#include "rt/rt.h"

#define PTE_PRESENT     1ull
#define PTE_WP          2ull  /* the machine's entry is write-protected */
#define PTE_OWN         4ull  /* the process's own copy: no folio, charged to the budget */
#define PTE_IDLE        8ull  /* an anonymous folio's page that the machine does not show */
#define PTE_SWAP        16ull /* a slot of the swap store, in the bits above */
#define PTE_SAME        32ull /* all its 32-bit words are the one in the bits above */
#define PTE_VALUE_SHIFT 16
#define PTE_FOLIO       0x0000ffffffffffc0ull
#define PTE_PIN_SHIFT   48 /* above: how many pins this page has */
#define PTE_PIN_MAX     0xffffull

typedef uint64_t pte_t;

struct ptable {
	rt_u64 key; /* (a) address >> TABLE_SHIFT */
	struct rt_lock lock;
	uint32_t present; /* (lock) entries that are not none */
	pte_t pte[PTES];  /* (lock) */
};

static inline struct folio *pte_folio(pte_t e)
{
	return (struct folio *)(uintptr_t)(e & PTE_FOLIO);
}

static inline pte_t pte_idle(struct folio *f)
{
	return (pte_t)(uintptr_t)f | PTE_IDLE | PTE_OWN;
}

/* pte_is_copy - a private copy of a page of a file: no folio, no swap. */
static inline bool pte_is_copy(pte_t e)
{
	return e == PTE_OWN;
}

/* A swap or same entry, and the slot or word in it. */
static inline pte_t pte_value_of(pte_t kind, uint64_t value)
{
	return kind | PTE_OWN | value << PTE_VALUE_SHIFT;
}

static inline uint64_t pte_value(pte_t e)
{
	return e >> PTE_VALUE_SHIFT;
}

static inline uint64_t pte_pins(pte_t e)
{
	return e >> PTE_PIN_SHIFT;
}

static inline unsigned pte_slot(uint64_t addr)
{
	return (unsigned)(addr >> RT_PAGE_SHIFT) % PTES;
}

/* ptable_get - the table for addr, made if there is none. NULL: no memory. Must not
 * be called with a folio locked (fault-path.md 3b). Needs: a lock that keeps a VMA
 * at addr. */
struct ptable *ptable_get(struct mm *mm, uint64_t addr);
/* ptable_lookup - the same, or NULL if there is none. */
struct ptable *ptable_lookup(struct mm *mm, uint64_t addr);

/* Folios in a row, to be mapped from one address on. */
struct map_item {
	struct folio *folio;
	uint32_t pages;
	uint32_t given; /* references of the caller's that the entries may take over; what
			 * was not taken stays here, and the caller's */
};

/* pgtable_map - map the pages of items[0..n) from addr on where the entries are
 * none, in as few calls to the machine as there are gaps. Stays within one table.
 * Returns how many pages from the front are present afterwards, or -errno of the
 * machine if none. *fresh: how many of them were none.
 * Needs: every folio locked and uptodate, pages below i_size, the table's lock. */
int64_t pgtable_map(struct mm *mm, struct ptable *t, uint64_t addr, struct map_item *items,
		    unsigned n, bool wp, uint64_t *fresh);

/* pgtable_copy - fill and map the page of f from buf, its bounce buffer. wp false: f is
 * dirty already. 0, or -errno as rt_mmu_copy().
 * Needs: f locked, the entry none, a shared view, the table's lock. */
int pgtable_copy(struct mm *mm, struct ptable *t, uint64_t addr, struct folio *f, const void *buf,
		 bool wp);

/* pte_make_writable - lift the write protection of a present page, whose folio is
 * dirty. pte_own - make it the process's own, with the content of buf; charged by the
 * caller. 0 or -errno. Needs: the folio locked, the table's lock. */
int pte_make_writable(struct mm *mm, struct ptable *t, uint64_t addr);
int pte_own(struct mm *mm, struct ptable *t, uint64_t addr, const void *buf);

/* pte_pin, pte_unpin - hold a present page against reclaim. False: 65535 pins.
 * Needs: the table's lock. */
bool pte_pin(struct mm *mm, struct ptable *t, uint64_t addr);
void pte_unpin(struct mm *mm, struct ptable *t, uint64_t addr);

enum zap_how {
	ZAP_ALL,     /* munmap, MADV_DONTNEED, truncate: private copies go too */
	ZAP_SHARED,  /* mremap that moves: spare private copies; pins go with their pages */
	ZAP_RECLAIM, /* spare what is pinned and private copies */
};

/* pgtable_zap - unmap [start, end) of v. Returns the pages unmapped.
 * Needs: v's lock, the mmap_lock, or mapping->views_lock. */
uint64_t pgtable_zap(struct mm *mm, struct vma *v, uint64_t start, uint64_t end, enum zap_how how);

/* pgtable_mkclean - write-protect what is writable and not pinned in [start, end) of
 * v: a later write faults. False: something pinned stays writable. Needs: as pgtable_zap(). */
bool pgtable_mkclean(struct mm *mm, struct vma *v, uint64_t start, uint64_t end);

/* pgtable_free - free the tables that lie wholly in [start, end), where no VMA is
 * left. Needs: mmap_lock for writing. */
void pgtable_free(struct mm *mm, uint64_t start, uint64_t end);

#endif
