# gamestate: running games in shared memory, finished games in partitioned tables.
# `make help` lists the targets; those of PGXS do what they do for any extension.

EXTENSION = gamestate
MODULE_big = gamestate
# DATA is a name of PGXS's and, for the users of `make demo`, their recorded games.
GAMES := $(if $(filter command environment,$(firstword $(origin DATA))),$(DATA))
override DATA = $(sort $(wildcard extension/gamestate--*.sql))
OBJS = \
	extension/gs_ahead.o \
	extension/gs_anonymise.o \
	extension/gs_anonymise_dictionary.o \
	extension/gs_anonymise_frozen.o \
	extension/gs_anonymise_game.o \
	extension/gs_anonymise_rows.o \
	extension/gs_anonymise_saved.o \
	extension/gs_archive.o \
	extension/gs_archive_find.o \
	extension/gs_archiver.o \
	extension/gs_archiver_failures.o \
	extension/gs_archiver_pass.o \
	extension/gs_archiver_split.o \
	extension/gs_archiver_stat.o \
	extension/gs_batch.o \
	extension/gs_changes.o \
	extension/gs_cold.o \
	extension/gs_cold_fdw.o \
	extension/gs_cold_file.o \
	extension/gs_cold_format.o \
	extension/gs_columns.o \
	extension/gs_columns_decode.o \
	extension/gs_columns_modes.o \
	extension/gs_config.o \
	extension/gs_connect.o \
	extension/gs_damage.o \
	extension/gs_database.o \
	extension/gs_dead_letter.o \
	extension/gs_deadline.o \
	extension/gs_delay.o \
	extension/gs_deleted.o \
	extension/gs_delta.o \
	extension/gs_dictionary.o \
	extension/gs_durable.o \
	extension/gs_entry.o \
	extension/gs_feed.o \
	extension/gs_feed_filter.o \
	extension/gs_feed_notice.o \
	extension/gs_feed_wait.o \
	extension/gs_feed_waiters.o \
	extension/gs_follow.o \
	extension/gs_follow_groups.o \
	extension/gs_follow_source.o \
	extension/gs_history.o \
	extension/gs_hook.o \
	extension/gs_freeze.o \
	extension/gs_give_way.o \
	extension/gs_idle.o \
	extension/gs_import.o \
	extension/gs_import_history.o \
	extension/gs_import_read.o \
	extension/gs_index.o \
	extension/gs_journal.o \
	extension/gs_journal_stat.o \
	extension/gs_json.o \
	extension/gs_json_read.o \
	extension/gs_launcher.o \
	extension/gs_leaderboard.o \
	extension/gs_lease.o \
	extension/gs_lease_look.o \
	extension/gs_lease_sql.o \
	extension/gs_leaves.o \
	extension/gs_light.o \
	extension/gs_limits.o \
	extension/gs_load.o \
	extension/gs_load_games.o \
	extension/gs_load_rows.o \
	extension/gs_load_wait.o \
	extension/gs_lobby.o \
	extension/gs_lock.o \
	extension/gs_log.o \
	extension/gs_lookup.o \
	extension/gs_maintenance.o \
	extension/gs_memory_wait.o \
	extension/gs_merge.o \
	extension/gs_merge_diff.o \
	extension/gs_module.o \
	extension/gs_move.o \
	extension/gs_owner.o \
	extension/gs_pages.o \
	extension/gs_partition.o \
	extension/gs_payload.o \
	extension/gs_payload_sql.o \
	extension/gs_period.o \
	extension/gs_place.o \
	extension/gs_player_stats.o \
	extension/gs_policy.o \
	extension/gs_policy_function.o \
	extension/gs_presence.o \
	extension/gs_presence_absent.o \
	extension/gs_promote.o \
	extension/gs_promote_copy.o \
	extension/gs_promote_swap.o \
	extension/gs_protect.o \
	extension/gs_queue.o \
	extension/gs_ranking.o \
	extension/gs_rate.o \
	extension/gs_rate_accounts.o \
	extension/gs_rate_limit.o \
	extension/gs_rate_policy.o \
	extension/gs_read.o \
	extension/gs_record.o \
	extension/gs_redact.o \
	extension/gs_repack.o \
	extension/gs_replay.o \
	extension/gs_request.o \
	extension/gs_restore.o \
	extension/gs_retention.o \
	extension/gs_rotate.o \
	extension/gs_ring.o \
	extension/gs_row.o \
	extension/gs_rules.o \
	extension/gs_save.o \
	extension/gs_scan.o \
	extension/gs_settled.o \
	extension/gs_shmem.o \
	extension/gs_states.o \
	extension/gs_sql.o \
	extension/gs_stats_rule.o \
	extension/gs_stored.o \
	extension/gs_suspend.o \
	extension/gs_suspended.o \
	extension/gs_swap.o \
	extension/gs_table.o \
	extension/gs_table_change.o \
	extension/gs_table_free.o \
	extension/gs_tablespace.o \
	extension/gs_target.o \
	extension/gs_tick.o \
	extension/gs_tier.o \
	extension/gs_timer.o \
	extension/gs_timer_worker.o \
	extension/gs_train.o \
	extension/gs_unpack.o \
	extension/gs_utility.o \
	extension/gs_uuid.o \
	extension/gs_verify.o \
	extension/gs_worker.o \
	extension/gs_worker_process.o \
	extension/gs_write.o \
	extension/gs_writeset.o

# What does not need the server: linked into tests/unit and tests/fuzz.
PURE_SRCS = \
	extension/gs_cold_format.c \
	extension/gs_columns.c \
	extension/gs_columns_decode.c \
	extension/gs_columns_modes.c \
	extension/gs_delta.c \
	extension/gs_entry.c \
	extension/gs_json_read.c \
	extension/gs_merge.c \
	extension/gs_merge_diff.c \
	extension/gs_payload.c \
	extension/gs_rate.c \
	extension/gs_record.c \
	extension/gs_redact.c \
	client/lib/call.c \
	client/lib/codec.c \
	client/lib/connect_error.c \
	client/lib/functions.c \
	client/lib/pool_backoff.c \
	client/lib/pool_breaker.c \
	client/lib/pool_conninfo.c \
	client/lib/pool_retry.c \
	client/lib/uuid.c \
	client/tool/hist.c \
	client/tool/hokm.c \
	client/tool/hokm_text.c \
	client/tool/json.c \
	client/tool/records.c \
	client/tool/util.c

PG_CONFIG ?= pg_config
# The version stands in the control file only (and in the names of the scripts).
EXTENSION_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" gamestate.control)
PG_CPPFLAGS = -Iextension -Iclient/include -Iclient/tool -DGAMESTATE_VERSION='"$(EXTENSION_VERSION)"'
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter
SHLIB_LINK = -lzstd

# make installcheck: against a running server that preloads the library
REGRESS ?= $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=gamestate --outputdir=build/installcheck

FUZZ_SECONDS ?= 20
VALGRIND_SECONDS ?= 600
export FUZZ_SECONDS VALGRIND_SECONDS
torture: export TORTURE_CRASHES ?= 200

# No bitcode: nothing of ours is worth inlining into a JIT-compiled expression,
# and it doubles the time to build.
override with_llvm = no

# (PGXS would install what is called HEADERS.)
OUR_HEADERS = $(wildcard extension/*.h client/*/*.h tests/unit/*.h)
UNIT_SRCS = $(sort $(wildcard tests/unit/*.c))
FUZZ_SRCS = $(sort $(wildcard tests/fuzz/*.c))
UNIT_PROGRAMS = $(UNIT_SRCS:tests/unit/%.c=build/unit/%)
C_FILES = $(sort $(wildcard extension/*.c client/*/*.c tests/unit/*.c tests/fuzz/*.c tests/bench/*.c tests/torture/*.c))
H_FILES = $(sort $(wildcard extension/*.h client/*/*.h tests/unit/*.h tests/bench/*.h))

TOOLS = tests/tools
# With a jobserver above us its number of jobs counts, without one all processors.
SUBMAKE = $(MAKE) -s --no-print-directory $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
# The copied pg_config of the private installation.
PRIVATE_PG_CONFIG = $(CURDIR)/build/run/bin/pg_config

all: client

# A file that was forgotten in OBJS would only be missed when the library is loaded.
unlisted = $(filter-out $(OBJS:.o=.c),$(wildcard extension/*.c))
all: check-objs
check-objs:
	@test -z '$(unlisted)' || { echo 'not in OBJS: $(unlisted)' >&2; exit 1; }

.PHONY: all help deps private client unit-programs torture-programs sanitize-programs test test-regress test-isolation \
	test-pgtap test-tap test-unit torture soak lint format sanitize demo demo-psql demo-stop \
	bench stop check-objs clean clean-private FORCE \
	lint-format lint-scripts lint-cppcheck lint-tidy $(C_FILES:%=lint-tidy/%)

help:
	@sed -n 's/^## \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

## make                 build the extension, the tool and libgamestate
## make install         install it for the PostgreSQL of PG_CONFIG=pg_config
## make install-client  only libgamestate, for programs (prefix=/usr/local, DESTDIR=...)
## make uninstall       take it away again
## make installcheck    SQL tests against a running server that preloads it
## make clean           remove what was built, and stop the private servers
##
## The rest works on private servers under build/ and touches no other:
##
## make demo            play games and query them (DATA="a.jsonl b.jsonl": recorded ones)
## make demo-psql       psql on the demonstration's server
## make demo-stop       stop that server
demo:
	@$(TOOLS)/deps.sh build
	@+$(SUBMAKE) private client
	@$(TOOLS)/demo.sh run $(GAMES)

demo-psql:
	@$(TOOLS)/demo.sh psql

demo-stop:
	@$(TOOLS)/demo.sh stop

## make deps            install the Debian packages that are missing for all this
deps:
	@$(TOOLS)/deps.sh build test

## make test            all tests; ends with "N passed, N failed"
## make test-regress    pg_regress, sql/ and expected/        (REGRESS="a b")
## make test-isolation  isolation specs, tests/isolation/     (ISOLATION="a b")
## make test-pgtap      pgTAP, tests/pgtap/*.sql              (PROVE_TESTS="file ...")
## make test-tap        Perl, tests/t/*.pl                    (PROVE_TESTS="file ...")
## make test-unit       C outside the server, tests/unit/*.c  (PROVE_TESTS="file ...")
##                      PROVE_FLAGS=-v shows each test; TAP_JOBS=2 files at once
test:
	@$(TOOLS)/deps.sh build test
	@+$(SUBMAKE) private client torture-programs unit-programs
	@$(TOOLS)/test.sh unit regress isolation pgtap tap

test-regress test-isolation test-pgtap test-tap test-unit:
	@$(TOOLS)/deps.sh build test
	@+$(SUBMAKE) private $(if $(filter test-tap,$@),client torture-programs) $(if $(filter test-unit,$@),unit-programs)
	@$(TOOLS)/test.sh $(@:test-%=%)

## make torture         TORTURE_CRASHES=200 crashes and power losses under load (make test: 6)
torture:
	@$(TOOLS)/deps.sh build test
	@+$(SUBMAKE) private torture-programs
	@PROVE_TESTS=tests/t/020_crash.pl PROVE_FLAGS='$(or $(PROVE_FLAGS),-v)' LAYER_TIMEOUT=$${LAYER_TIMEOUT:-14400} \
		$(TOOLS)/test.sh tap

## make soak            SOAK_ROUNDS=40 restarts, crashes and failovers, at random, while games are
##                      played and followed (make test: 5; SOAK_SEED: the same ones again)
soak: export SOAK_ROUNDS ?= 40
soak:
	@$(TOOLS)/deps.sh build test
	@+$(SUBMAKE) private client
	@PROVE_TESTS=tests/t/048_soak.pl PROVE_FLAGS='$(or $(PROVE_FLAGS),-v)' LAYER_TIMEOUT=$${LAYER_TIMEOUT:-14400} \
		$(TOOLS)/test.sh tap

## make lint            clang-tidy, cppcheck, shellcheck, and whether the layout is clang-format's
## make format          bring the layout into that form
## make sanitize        tests/unit and tests/fuzz/*.c (a libFuzzer run of FUZZ_SECONDS each)
##                      under ASan and UBSan; then the SQL tests on a server under valgrind,
##                      as many as VALGRIND_SECONDS allow (REGRESS="a b" to choose)
## make bench           speed, size and load time next to what was aimed at, beside ordinary
##                      tables and a private Redis, in one run (BENCH_ONLY="moves wal":
##                      some parts, BENCH_SECONDS=1 a measurement, BENCH_ROUNDS=3 of
##                      them, BENCH_BIG=1 a million games; see tests/bench/bench.sh)
lint:
	@$(TOOLS)/deps.sh build lint
	@+$(SUBMAKE) -k lint-format lint-scripts lint-cppcheck lint-tidy

format:
	@$(TOOLS)/deps.sh lint
	clang-format -i $(C_FILES) $(H_FILES)

sanitize:
	@$(TOOLS)/deps.sh build test sanitize
	@+$(SUBMAKE) private sanitize-programs sanitize-client
	@$(TOOLS)/sanitize.sh

bench:
	@$(TOOLS)/deps.sh build bench
	@+$(SUBMAKE) private build/bench/gs_bench build/bench/gs_noop.so build/bench/client_bench build/client/pool_bench
	@tests/bench/bench.sh

# Stops the private servers (make clean does it too).
stop:
	@$(TOOLS)/demo.sh stop-all

clean: clean-private
clean-private:
	@$(TOOLS)/private-pg.sh remove
	rm -rf build

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)

# A machine without PostgreSQL: only what installs it, and starts make anew, works.
all install uninstall installcheck private client:
	@echo 'PostgreSQL and its development files are missing ($(PG_CONFIG) --pgxs):' >&2
	@echo 'run "make deps", or say where they are with PG_CONFIG=...' >&2
	@exit 1

else

# The private copy of PostgreSQL with this extension in it.
private: all
	@PG_CONFIG='$(PG_CONFIG)' $(TOOLS)/private-pg.sh
	@umask 022; $(MAKE) --no-print-directory -s install PG_CONFIG='$(PRIVATE_PG_CONFIG)' \
		CLIENT_PREFIX='$(CURDIR)/build/client/installed'

client: build/client/gamestate library client-programs
unit-programs: $(UNIT_PROGRAMS)
torture-programs: build/torture/writer build/torture/reader build/torture/powerloss.so build/torture/diskfull.so
sanitize-programs: $(UNIT_SRCS:tests/unit/%.c=build/sanitize/%) $(FUZZ_SRCS:tests/fuzz/%.c=build/fuzz/%)

lint-format:
	clang-format --dry-run --Werror $(C_FILES) $(H_FILES)

lint-scripts:
	shellcheck -x $(TOOLS)/*.sh tests/bench/*.sh .ci/run

lint-cppcheck:
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=nullPointerArithmetic \
		--error-exitcode=1 -Iextension -Iclient/include -Iclient/tool -Iclient/lib $(C_FILES)

lint-tidy: $(C_FILES:%=lint-tidy/%)

# One file at a time, so that make can run several at once.
$(C_FILES:%=lint-tidy/%): lint-tidy/%:
	clang-tidy --quiet $* -- $(PG_CPPFLAGS) $(PG_CFLAGS) -Itests/unit -Iclient/lib \
		-I$(includedir_server) -I$(includedir) -D_GNU_SOURCE

# Everything is built anew when the compiler, its flags or PostgreSQL change.
# (PGXS's own dependency tracking is off in Debian's packages.)
build/flags: FORCE
	@mkdir -p build
	@printf '%s\n' '$(CC) $(CFLAGS)' "$$($(PG_CONFIG) --version --configure)" | \
		{ cmp -s - $@ || printf '%s\n' '$(CC) $(CFLAGS)' "$$($(PG_CONFIG) --version --configure)" > $@; }

$(OBJS): $(OUR_HEADERS) gamestate.control build/flags

PROGRAM_CFLAGS = $(CPPFLAGS) -I$(includedir) $(CFLAGS)

build/client/gamestate: gamestate.control $(sort $(wildcard client/tool/*.c)) $(OUR_HEADERS) build/client/libgamestate.a build/flags
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) $(filter %.c,$^) build/client/libgamestate.a $(LDFLAGS) $(libpq) -lhiredis -lzstd -lcrypto -lm -lpthread -o $@

build/torture/writer build/torture/reader: build/torture/%: tests/torture/%.c build/flags
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) $< $(LDFLAGS) $(libpq) -o $@

# Libraries that are preloaded into a test's server, to stand for its disk.
build/torture/%.so: tests/torture/%.c build/flags
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) -D_GNU_SOURCE -U_FORTIFY_SOURCE -fPIC -shared $< $(LDFLAGS) -o $@

build/unit/%: tests/unit/%.c $(PURE_SRCS) $(OUR_HEADERS) build/flags
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) -Itests/unit -Iclient/lib $(filter %.c,$^) $(LDFLAGS) $(libpq) -lzstd -lm -o $@

SANITIZE = clang -std=gnu11 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
	$(CPPFLAGS) -I$(includedir) -Itests/unit -Iclient/lib -Wno-ignored-attributes
SANITIZE_LIBS = $(libpq) -lzstd -lm

build/sanitize/%: tests/unit/%.c $(PURE_SRCS) $(OUR_HEADERS) build/flags
	@mkdir -p $(@D)
	$(SANITIZE) -fsanitize=address,undefined $(filter %.c,$^) $(SANITIZE_LIBS) -o $@

build/fuzz/%: tests/fuzz/%.c $(PURE_SRCS) $(OUR_HEADERS) build/flags
	@mkdir -p $(@D)
	$(SANITIZE) -fsanitize=fuzzer,address,undefined $(filter %.c,$^) $(SANITIZE_LIBS) -o $@

build/bench/gs_bench: $(filter-out tests/bench/gs_noop.c,$(sort $(wildcard tests/bench/*.c))) $(OUR_HEADERS) $(wildcard tests/bench/*.h) build/client/libgamestate.a build/flags
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) $(filter %.c,$^) build/client/libgamestate.a $(LDFLAGS) $(libpq) -lhiredis -lm -lpthread -o $@

build/bench/gs_noop.so: tests/bench/gs_noop.c build/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_SL) $(CFLAGS_SL_MODULE) -shared $< $(LDFLAGS) -o $@

# The library; the tool and its page.
include client/library.mk
install: install-client install-tool
uninstall: uninstall-client uninstall-tool
.PHONY: install-tool uninstall-tool
install-tool: build/client/gamestate
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1'
	$(INSTALL_PROGRAM) $< '$(DESTDIR)$(bindir)/gamestate'
	$(INSTALL_DATA) client/man/gamestate.1 '$(DESTDIR)$(mandir)/man1/gamestate.1'
uninstall-tool:
	rm -f '$(DESTDIR)$(bindir)/gamestate' '$(DESTDIR)$(mandir)/man1/gamestate.1'

installcheck: | build/installcheck
build/installcheck:
	mkdir -p $@

# Flags of PostgreSQL's own compiler that the one in use does not know.
ifneq (,$(findstring clang,$(CC)))
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

include $(PGXS)

endif
