/* SPDX-License-Identifier: MIT */
/*
 * test_contract.c - do both machines keep the promises of rt.h?
 *
 * The tests of contract.h are compiled for each machine; both copies, with both machines,
 * are in this one program.
 */
#include "../unit/unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "suite.h"

#define TESTS_MAX 512

struct one {
	const struct contract_suite *suite;
	unsigned nr;
	char name[96];
};

static void run_one(void **state)
{
	const struct one *t = *state;
	char why[2300];

	switch (t->suite->run(t->nr, why, sizeof(why))) {
	case CONTRACT_FAILED:
		fail_msg("%s", why);
		break;
	case CONTRACT_SKIPPED:
		print_message("# skipped: %s\n", why);
		skip();
		break;
	default:
		break;
	}
}

/* As containers do. */
static bool refuse_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 &&
	       syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == EPERM;
}

/* test_contract [--no-uring] [TEXT]: only tests whose name contains TEXT. */
int main(int argc, char **argv)
{
	static const struct contract_suite *const suites[] = { &contract_tests_native,
							       &contract_tests_sim };
	static struct CMUnitTest tests[TESTS_MAX];
	static struct one ones[TESTS_MAX];
	size_t n = 0;

	if (argc > 1 && strcmp(argv[1], "--no-uring") == 0) {
		if (!refuse_io_uring()) {
			printf("1..0 # SKIP no seccomp here\n");
			return 0;
		}
		argc--;
		argv++;
	}
	for (unsigned s = 0; s < sizeof(suites) / sizeof(suites[0]); s++)
		for (unsigned i = 0; suites[s]->name(i) && n < TESTS_MAX; i++) {
			struct one *t = &ones[n];
			t->suite = suites[s];
			t->nr = i;
			snprintf(t->name, sizeof(t->name), "%s", suites[s]->name(i));
			if (argc > 1 && !strstr(t->name, argv[1]))
				continue;
			tests[n++] = (struct CMUnitTest){ t->name, run_one, NULL, NULL, t };
		}
	return _cmocka_run_group_tests("contract", tests, n, NULL, NULL);
}
