/* SPDX-License-Identifier: MIT */
/* driver.h - how contract.c has a test of this machine run. */
#ifndef CONTRACT_DRIVER_H
#define CONTRACT_DRIVER_H

#include "contract.h"
#include "suite.h"

#ifdef CONTRACT_SIM
#define CONTRACT    contract_tests_sim
#define DRIVER_NAME "sim"
/* Each an outcome that rt.h allows: they bring their own choices. */
extern const struct contract_test kind_tests[];
#else
#define CONTRACT     contract_tests_native
#define DRIVER_NAME  "native"
/* What the machine does beyond the contract. */
extern const struct contract_test pool_tests[];
/* The nouns that are run as on a kernel without UFFDIO_MOVE. */
#define WITHOUT_MOVE "without MOVE"
#endif

enum contract_result driver_run(const struct contract_test *t, const char *noun, char *why,
				size_t n);

#endif
