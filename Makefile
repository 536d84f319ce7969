# The entry points. Each is a few lines that call cmake or scripts/; `make help` lists them.

PREFIX ?= /usr/local
# Passed on to `pgcascade demo`, as in: make demo DEMO_ARGS=--keep
DEMO_ARGS ?=

# Steps run in the order they are written; ninja makes the builds parallel.
.NOTPARALLEL:
.PHONY: all setup demo test test-matrix bench check format install clean help dev release

all: build/release/build.ninja ## build build/release/pgcascade
	cmake --build --preset release --target pgcascade

setup: ## install what building, testing and benchmarks need (Debian 12)
	scripts/setup test

demo: ## install what is needed, build, and run the main job on real servers
	@scripts/setup build
	@$(MAKE) --no-print-directory all
	build/release/pgcascade demo $(DEMO_ARGS)

test: ## install what is needed, build, and run all tests (PostgreSQL 15 and 18)
	@scripts/setup test
	@$(MAKE) --no-print-directory dev release
	scripts/test 15 18

test-matrix: ## the same on PostgreSQL 15, 16, 17 and 18
	@scripts/setup matrix
	@$(MAKE) --no-print-directory dev release
	scripts/test 15 16 17 18

bench: ## one table: work, PostgreSQL, pgcascade, ratio
	@scripts/setup test
	cmake --preset bench
	cmake --build --preset bench
	/usr/bin/python3 bench/run.py

check: ## formatting, clang-tidy, include arrows, headers, README's commands, scripts
	@scripts/setup test
	@$(MAKE) --no-print-directory all build/dev/build.ninja
	scripts/check

format: ## rewrite the C++ files as .clang-format says
	git ls-files -z --cached --others --exclude-standard '*.cpp' '*.hpp' | xargs -0r clang-format -i

install: release ## install the program and the C++ library (PREFIX=/usr/local, DESTDIR=)
	cmake --install build/release --prefix $(PREFIX)

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

dev release: %: build/%/build.ninja
	cmake --build --preset $@

# ninja itself sees to changes of CMakeLists.txt.
build/%/build.ninja: CMakePresets.json
	@for tool in cmake ninja g++; do command -v $$tool >/dev/null || \
		{ echo "$$tool is missing; to install what building needs: scripts/setup build" >&2; exit 1; }; done
	cmake --preset $*
