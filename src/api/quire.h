/* SPDX-License-Identifier: MIT */
/* quire.h (api) - what the files of the api share. Not installed. */
#ifndef API_QUIRE_H
#define API_QUIRE_H

#include "api/statpage.h"
#include "core/mm.h"
#include "quire/quire.h"

struct quire {
	struct mm mm;
	bool direct;           /* open files O_DIRECT too */
	bool child;            /* after fork: nothing of it is here */
	struct statpage *page; /* shared with `quire stat`; NULL: none */
	int page_fd;
	struct quire_stats last; /* what the page shows, pager only */
};

/* fail - remember the sentence for quire_error(), set errno to `error`; returns -1. */
int fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fail_ptr - the same, as MAP_FAILED. */
#define fail_ptr(...) (fail(__VA_ARGS__), MAP_FAILED)

/* fault.c: which quire a SIGBUS is for. add: -errno (too many). del waits until no
 * handler looks at q. */
int registry_add(struct quire *q);
void registry_del(struct quire *q);
struct quire *registry_next(unsigned *at); /* for fork; start with 0 */

/* open.c */
/* check_size - a caller's structure of `size` bytes, of which we know `known`: the rest
 * must be zero. 0, or -1 with errno EINVAL or E2BIG. */
int check_size(const void *p, size_t size, size_t known);
void fill_stats(struct quire *q, struct quire_stats *s);
/* swap.c: a nameless file of so many bytes, all of them reserved: its descriptor; -1. */
int swap_file_open(const char *path, uint64_t bytes);
/* fork.c */
int fork_handlers_install(void);
/* While held, no fork of this process is under way: for opening and closing. */
void fork_lock(void);
void fork_unlock(void);

/* is_gone - q is the parent's, and this is the child: fails with EINVAL. */
bool is_gone(const struct quire *q, const char *call);

#endif
