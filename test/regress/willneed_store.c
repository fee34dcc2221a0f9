/* SPDX-License-Identifier: MIT */
/* Seen: after MADV_WILLNEED over a user store the pager woke every millisecond for ever.
 * Why: such a store has no queue to read ahead with, but its advice stayed in the list. */
#include "harness.h"

#include <dirent.h>

/* How often the pager has gone to sleep so far. */
static unsigned long pager_switches(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned long n = 0;
	struct dirent *e;
	bool found = false;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[300], line[256];
		bool is_pager = false;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		while (fgets(line, sizeof(line), f)) {
			if (strcmp(line, "Name:\tquire-pager\n") == 0)
				is_pager = found = true;
			if (is_pager)
				sscanf(line, "voluntary_ctxt_switches: %lu", &n);
		}
		fclose(f);
	}
	closedir(d);
	assert_true(found);
	return n;
}

static void pager_sleeps(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(8 * MIB, 1);
	uint8_t *p = h_map_store(q, 8 * MIB, PROT_READ, MAP_SHARED, s);
	unsigned long before;

	assert_ok(quire_madvise(q, p, 8 * MIB, MADV_WILLNEED));
	h_sleep_ms(50);
	before = pager_switches();
	h_sleep_ms(500);
	/* Its tick is 5; a machine that is slow makes it fewer, never more. */
	assert_in_range(pager_switches() - before, 0, 99);
	assert_pattern(p, 8 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(pager_sleeps) };

	return h_main(tests, 1, argc, argv);
}
