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
#define CONTRACT    contract_tests_native
#define DRIVER_NAME "native"
#endif

enum contract_result driver_run(const struct contract_test *t, char *why, size_t n);

#endif
