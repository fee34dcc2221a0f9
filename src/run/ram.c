/* SPDX-License-Identifier: MIT */
/*
 * ram.c - see ram.h.
 *
 * /proc/self/cgroup names the groups as seen from the cgroup root, which inside
 * a container may not be where the tree is mounted. So each level of the path
 * is tried and missing files are skipped; the mount's own root is the last one,
 * and that is the group of a container.
 */
#include "run/ram.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PATH_BYTES 1024

/* Where a tree may be mounted, and the file that holds its limit. */
struct tree {
	int version;
	const char *mount;
	const char *file;
};

static const struct tree trees[] = {
	{ 2, "/sys/fs/cgroup", "memory.max" },
	{ 2, "/sys/fs/cgroup/unified", "memory.max" },
	{ 1, "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
};

/* Reads a small file as a string; false when there is none. */
static bool slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* Takes the limit in one file into r, when it is one and is smaller. */
static void take_limit(struct ram *r, const char *path, int version)
{
	char text[64];
	char *end;
	uint64_t v;

	if (!slurp(path, text, sizeof(text)))
		return;
	v = strtoull(text, &end, 10);
	/* "max", and v1's "no limit", which is nearly 2^63. */
	if (end == text || v >= (1ull << 60))
		return;
	if (!r->cgroup || v < r->cgroup) {
		r->cgroup = v;
		r->version = version;
	}
}

/* Every level of path, from the group itself up to the mount. */
static void walk(struct ram *r, const struct tree *t, const char *path)
{
	char dir[PATH_BYTES];
	char file[PATH_BYTES + 128];
	char *slash;

	if (strlen(path) >= sizeof(dir))
		return;
	strcpy(dir, path);
	for (;;) {
		while ((slash = strrchr(dir, '/')) && !slash[1])
			*slash = '\0';
		snprintf(file, sizeof(file), "%s%s/%s", t->mount, dir, t->file);
		take_limit(r, file, t->version);
		slash = strrchr(dir, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

/* Is "memory" one of the comma-separated controllers in [s, end)? */
static bool names_memory(const char *s, const char *end)
{
	while (s < end) {
		const char *comma = memchr(s, ',', (size_t)(end - s));
		const char *stop = comma ? comma : end;

		if (stop - s == 6 && !memcmp(s, "memory", 6))
			return true;
		s = stop + 1;
	}
	return false;
}

/* One line of /proc/self/cgroup: "ID:CONTROLLERS:PATH". */
static void take_line(struct ram *r, const char *line)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	int version;

	if (!path)
		return;
	if (path == controllers + 1)
		version = 2;
	else if (names_memory(controllers + 1, path))
		version = 1;
	else
		return;
	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		if (trees[i].version == version)
			walk(r, &trees[i], path + 1);
	}
}

void ram_read(struct ram *r)
{
	struct sysinfo info;
	char text[4096];
	char *line, *next;

	memset(r, 0, sizeof(*r));
	if (!sysinfo(&info))
		r->physical = (uint64_t)info.totalram * info.mem_unit;
	if (!slurp("/proc/self/cgroup", text, sizeof(text)))
		return;
	for (line = text; *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		else
			next = line + strlen(line);
		take_line(r, line);
	}
}

uint64_t ram_total(const struct ram *r)
{
	if (r->cgroup && r->cgroup < r->physical)
		return r->cgroup;
	return r->physical;
}
