/* SPDX-License-Identifier: MIT */
/* config.c - see config.h. */
#include "run/config.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "run/ram.h"

#define GLOB_BYTES 1024

/* An empty variable is one that is not there: shells make those easily. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

int config_size(const char *name, const char *text, uint64_t *out, char *why, size_t why_size)
{
	struct ram ram;
	enum size_error e;

	ram_read(&ram);
	e = size_parse(text, ram_total(&ram), out);
	if (!e)
		return 0;
	snprintf(why, why_size, "%s: '%s' %s", name, text, size_error_text(e));
	return -1;
}

int config_read(struct config *c, char *why, size_t why_size)
{
	const char *memory = variable("QUIRE_MEMORY");
	const char *min_size = variable("QUIRE_MIN_SIZE");
	const char *stats = variable("QUIRE_STATS");
	const char *anon = variable("QUIRE_ANON");
	const char *swap_size = variable("QUIRE_SWAP_SIZE");

	*c = (struct config){
		.min_size = CONFIG_MIN_SIZE,
		.stats = stats && strcmp(stats, "0"),
		.anon = anon && strcmp(anon, "0"),
		.match = variable("QUIRE_MATCH"),
		.swap = variable("QUIRE_SWAP"),
		.opts = variable("QUIRE_OPTS"),
		.log = variable("QUIRE_LOG"),
	};
	if (!memory)
		return 0;
	if (config_size("QUIRE_MEMORY", memory, &c->memory, why, why_size))
		return -1;
	if (min_size && config_size("QUIRE_MIN_SIZE", min_size, &c->min_size, why, why_size))
		return -1;
	if (swap_size && config_size("QUIRE_SWAP_SIZE", swap_size, &c->swap_size, why, why_size))
		return -1;
	c->active = true;
	return 0;
}

/* A glob without a slash is about the file's name, as in .gitignore. */
static bool match_one(const char *glob, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	return !fnmatch(glob, strchr(glob, '/') ? path : name, 0);
}

int config_keep(struct config *c)
{
	const char **each[] = { &c->match, &c->swap, &c->opts, &c->log };

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		if (*each[i] && !(*each[i] = strdup(*each[i])))
			return -1;
	}
	return 0;
}

bool config_match(const char *list, const char *path)
{
	char glob[GLOB_BYTES]; /* small: mmap() may be called on a small stack */

	if (!list)
		return true;
	for (const char *s = list; *s; s += *s == ':') {
		size_t n = strcspn(s, ":");

		if (n && n < sizeof(glob)) {
			memcpy(glob, s, n);
			glob[n] = '\0';
			if (match_one(glob, path))
				return true;
		}
		s += n;
	}
	return false;
}
