# SPDX-License-Identifier: MIT
# A thin front: meson and the scripts in tools/ do the work.
# `make help` lists what there is.

BUILD      ?= build
BUILD_ASAN ?= build-asan
BUILD_TSAN ?= build-tsan
SECONDS    ?= 60
HOURS      ?= 1
PREFIX     ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help setup build build-asan demo test quick stress asan check mutants figures soak bench tidy format install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## install the packages that are missing (Debian 12)
	@tools/setup

build: ## the plain build, in build/
	@tools/build plain $(BUILD)

build-asan: ## the ASan + UBSan build, in build-asan/
	@tools/build asan $(BUILD_ASAN)

demo: setup build ## fio over a file of 1 GiB in 128 MiB, with quire and without
	@tools/demo

# tools/test-run sets up and builds by itself, so that a build that fails is
# counted and the last line is always `N passed, N failed`.
test: ## set up, build thrice, run everything; ends with `N passed, N failed`
	@tools/test-run --build $(BUILD) --asan $(BUILD_ASAN) --tsan $(BUILD_TSAN)

quick: ## the plain build's checks, unit and native tests, once
	@tools/test-run --build $(BUILD) --quick

stress: ## the stress runs alone, plain and ASan: SECONDS=60 each
	@tools/test-run --build $(BUILD) --asan $(BUILD_ASAN) --stress --seconds $(SECONDS)

asan: ## unit and native tests and the checker under ASan + UBSan, the checker under TSan
	@tools/test-run --asan $(BUILD_ASAN) --tsan $(BUILD_TSAN)

check: build ## quire check over everything: SECONDS=60
	@$(BUILD)/quire check --seconds $(SECONDS)

mutants: setup build ## does the checker find each of test/mutants? 10 seeds, under 20 minutes
	@tools/mutants --build $(BUILD) --json $(BUILD)/mutants.json

figures: build ## what the checker can do, in figures, into docs/reliability.md: SECONDS=60
	@tools/figures --build $(BUILD) --seconds $(SECONDS) --write

soak: build ## quire check for HOURS=1, a new seed each hour
	@for h in $$(seq 1 $(HOURS)); do seed=$$(date +%s); echo "hour $$h of $(HOURS), seed $$seed"; \
		$(BUILD)/quire check --seconds 3600 --seed $$seed || exit 1; done

bench: setup build ## side by side with the kernel's mmap and swap; exit 1 when a bar is missed
	@python3 bench/both.py --build $(BUILD)

tidy: build ## layers, includes, exports and the handler's stack
	@tools/tidy --build $(BUILD)
	@tools/stack-check --build $(BUILD)

format: ## clang-format over what is ours
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build ## into PREFIX (/usr/local)
	@meson configure $(BUILD) --prefix $(PREFIX)
	@meson install -C $(BUILD)

clean: ## remove the builds
	@rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_TSAN)
