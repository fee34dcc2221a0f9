/* SPDX-License-Identifier: MIT */
/*
 * suite.h - the contract tests of one machine, as test_contract.c sees them: they are
 * compiled once for each machine, and this is the one name that each copy keeps.
 */
#ifndef CONTRACT_SUITE_H
#define CONTRACT_SUITE_H

#include <stdbool.h>
#include <stddef.h>

enum contract_result { CONTRACT_PASSED, CONTRACT_FAILED, CONTRACT_SKIPPED };

struct contract_suite {
	const char *machine;
	/* "noun: sentence"; NULL: there is no i-th. */
	const char *(*name)(unsigned i);
	enum contract_result (*run)(unsigned i, char *why, size_t n);
};

extern const struct contract_suite contract_tests_native, contract_tests_sim;

#endif
