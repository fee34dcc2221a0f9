/* SPDX-License-Identifier: MIT */
/*
 * config.h - what the environment asks of `quire run`.
 *
 *     QUIRE_MEMORY    the budget; without it nothing is taken over
 *     QUIRE_MIN_SIZE  mappings smaller than this stay the kernel's (1M)
 *     QUIRE_MATCH     globs, separated by ':'; only files that match one are
 *                     taken over (all)
 *     QUIRE_ANON      1: large private anonymous mappings are taken over too
 *     QUIRE_SWAP      where anonymous memory goes that has no room, and how much
 *     QUIRE_SWAP_SIZE of it may be there (quire_open())
 *     QUIRE_OPTS      handed to quire_open()
 *     QUIRE_LOG       a descriptor's number or a path (silent)
 *     QUIRE_STATS     1: a summary on stderr at exit
 *
 * The same reading serves the command line, which checks what it is about to
 * export. Strings point into the environment until config_keep(): programs that
 * set their title write over that memory.
 */
#ifndef QUIRE_RUN_CONFIG_H
#define QUIRE_RUN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MIN_SIZE (1u << 20)

struct config {
	bool active; /* QUIRE_MEMORY is there */
	bool stats;
	bool anon;
	uint64_t memory;    /* bytes */
	uint64_t min_size;  /* bytes */
	uint64_t swap_size; /* bytes; 0: quire_open()'s default */
	const char *match;  /* NULL: every file */
	const char *swap;   /* NULL: none */
	const char *opts;   /* NULL: none */
	const char *log;    /* NULL: silent */
};

/*
 * config_read - fill c from the environment.
 * Returns 0, or -1 with one line in why that names the variable.
 */
int config_read(struct config *c, char *why, size_t why_size);

/* config_keep - copy the strings, for the life of the process. -1: no memory. */
int config_keep(struct config *c);

/* config_size - one size; 0, or -1 with a line in why that names it as `name`. */
int config_size(const char *name, const char *text, uint64_t *out, char *why, size_t why_size);

/* config_match - does path match one of the globs of list? NULL matches all. */
bool config_match(const char *list, const char *path);

#endif
