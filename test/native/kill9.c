/* SPDX-License-Identifier: MIT */
/*
 * kill9.c - what msync has returned for is in the file, whenever kill -9 comes.
 *
 * A child works in rounds: round n writes the token n into PAGES_PER_ROUND
 * pages, which follow from n, syncs them, and only then reports n through a
 * pipe. The parent kills it at a random moment and reads the file: each page
 * must hold the last reported round that wrote it, or a later one that began;
 * never an older one, never half of one. The next child goes on in the file.
 */
#include "harness.h"

#include <sys/wait.h>

#define FILE_PAGES      2048 /* twice the budget */
#define PAGES_PER_ROUND 24

static uint64_t expect[FILE_PAGES]; /* the last round known to be synced */

static uint64_t round_page(uint64_t round, int i)
{
	uint64_t r = round * 1000003 + (uint64_t)i * 7919 + 1;

	h_random(&r);
	return h_random(&r) % FILE_PAGES;
}

/* Every word of the page holds the round: a torn page shows. */
static void page_write(uint64_t *p, uint64_t round)
{
	size_t i;

	for (i = 0; i < PAGE / 8; i++)
		((volatile uint64_t *)p)[i] = round;
}

static void child(int fd, int report, uint64_t round)
{
	struct quire *q = h_open(4 * MIB, NULL);
	uint8_t *p =
		quire_mmap(q, NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int i;

	CHECK(p != MAP_FAILED);
	for (;; round++) {
		for (i = 0; i < PAGES_PER_ROUND; i++)
			page_write((uint64_t *)(p + round_page(round, i) * PAGE), round);
		if (round % 3 == 0) {
			CHECK(quire_msync(q, p, FILE_PAGES * PAGE, MS_SYNC) == 0);
		} else {
			for (i = 0; i < PAGES_PER_ROUND; i++)
				CHECK(quire_msync(q, p + round_page(round, i) * PAGE, PAGE,
						  MS_SYNC) == 0);
		}
		CHECK(write(report, &round, sizeof(round)) == (ssize_t)sizeof(round));
	}
}

static bool writes(uint64_t round, uint64_t page)
{
	int i;

	for (i = 0; i < PAGES_PER_ROUND; i++)
		if (round_page(round, i) == page)
			return true;
	return false;
}

/*
 * Rounds up to last were reported. Round last + 1 may be there in part: page by
 * page, and word by word where the write was cut short before msync.
 */
static int check(int fd, uint64_t last, int kill_number)
{
	uint64_t buf[PAGE / 8], page;
	size_t i;

	for (page = 0; page < FILE_PAGES; page++) {
		h_file_read(fd, buf, PAGE, (off_t)(page * PAGE));
		for (i = 0; i < PAGE / 8; i++) {
			if (buf[i] == expect[page])
				continue;
			if (buf[i] == last + 1 && writes(last + 1, page))
				continue;
			printf("# kill %d: page %lu word %zu holds round %lu, synced was %lu, "
			       "last reported %lu\n",
			       kill_number, page, i, buf[i], expect[page], last);
			return 1;
		}
	}
	return 0;
}

static void round_reported(uint64_t reported, uint64_t *last, uint64_t *rounds)
{
	int i;

	CHECK(reported == *last + 1);
	*last = reported;
	++*rounds;
	for (i = 0; i < PAGES_PER_ROUND; i++)
		expect[round_page(reported, i)] = reported;
}

int main(int argc, char **argv)
{
	int kills = argc > 1 ? atoi(argv[1]) : 200, n, fd, status;
	uint64_t last = 0, rnd = 20261120, rounds = 0;
	char name[4096];

	printf("1..1\n");
	snprintf(name, sizeof(name), "%s/quire-kill9-XXXXXX",
		 getenv("QUIRE_TEST_DIR") ? getenv("QUIRE_TEST_DIR") : "/tmp");
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0) {
		perror(name);
		return 2;
	}
	unlink(name);
	if (ftruncate(fd, FILE_PAGES * PAGE) != 0)
		return 2;

	for (n = 0; n < kills; n++) {
		uint64_t reported;
		int p[2];
		pid_t pid;

		CHECK(pipe(p) == 0);
		fflush(NULL);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			close(p[0]);
			child(fd, p[1], last + 1);
		}
		close(p[1]);
		/* Three of four after a first report, the rest whenever it happens. */
		reported = 0;
		if (n % 4 && read(p[0], &reported, sizeof(reported)) == (ssize_t)sizeof(reported))
			round_reported(reported, &last, &rounds);
		h_sleep_ms((int)(h_random(&rnd) % 40));
		usleep((useconds_t)(h_random(&rnd) % 1000));
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
			printf("not ok 1 - the child ended by itself, status 0x%x\n", status);
			return 1;
		}
		while (read(p[0], &reported, sizeof(reported)) == (ssize_t)sizeof(reported))
			round_reported(reported, &last, &rounds);
		close(p[0]);
		if (check(fd, last, n)) {
			printf("not ok 1 - a synced page is not in the file\n");
			return 1;
		}
		/* What the next child finds there may be newer than what was reported:
		 * it repeats round last + 1, so that nothing else need be known. */
	}
	printf("ok 1 - %d times kill -9: all that was synced is there\n", kills);
	printf("# %lu rounds\n", rounds);
	return 0;
}
