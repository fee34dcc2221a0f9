/* SPDX-License-Identifier: MIT */
/*
 * fault_try.h - what the kinds of fault share: one try's waiting and its results. Only
 * fault*.c may include it; fault.h has the protocol.
 *
 * The rule of fault.h holds for each function here that takes a struct fault: the fault
 * lock is held when it returns, unless it returns RETRY or COMPLETED.
 */
#ifndef CORE_FAULT_TRY_H
#define CORE_FAULT_TRY_H

#include "core/fault.h"

/* do_file_fault - one try of a fault on a mapping. Needs: the fault lock, f->table. */
unsigned do_file_fault(struct fault *f);
/* do_anon_fault - the same on anonymous memory. */
unsigned do_anon_fault(struct fault *f);

/* first_try - may this try still drop its lock to wait? */
bool first_try(const struct fault *f);
unsigned retry_result(const struct fault *f);
bool may_drop(const struct fault *f, const struct folio *folio);
/* fault_error - note the errno that goes with `result`, an ERROR. */
unsigned fault_error(struct fault *f, unsigned result, int error);
/* machine_result - what to make of a -errno of the machine's. */
unsigned machine_result(struct fault *f, int64_t err);
void keep_wanted(struct fault *f, struct folio *folio);
/* put_wanted - let go of what the fault has waited for, if it has. */
void put_wanted(struct fault *f);
unsigned need_memory(struct fault *f);
unsigned folio_lock_or_retry(struct fault *f, struct folio *folio);

#endif
