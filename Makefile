# Holdfast. `make help` lists what can be made. SAN=1 builds with ASan and UBSan into build/san.

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
PYTHON  := /usr/bin/python3
VERSION := 0.1.0

ifdef SAN
B       := build/san
# With sanitizers gcc sees less of the values that bound a text, and warns where there is nothing.
OPT     := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
NOWARN  := -Wno-format-truncation
else
B       := build
OPT     := -O2 -g
endif

WARN    := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wswitch-enum -Wstrict-prototypes \
           -Wmissing-prototypes -Wjump-misses-init -Wvla -Werror $(NOWARN)
CPPFLAGS := -D_GNU_SOURCE -DHOLDFAST_VERSION='"$(VERSION)"' -I. -I$(B)/gen
CFLAGS  := -std=gnu17 $(OPT) -fstack-protector-strong -pthread $(WARN)
LDFLAGS := $(OPT) -pthread
LDLIBS  := -luring -llmdb -lprotobuf-c -lnghttp2 -lxxhash -lcrypto -lm

# V=1 shows the commands.
Q := $(if $(V),,@)

# Generated code follows its generator's habits, not our warnings.
GEN_CFLAGS := -std=gnu17 $(OPT) -w

PROTOS  := $(wildcard proto/*.proto)
GEN_C   := $(PROTOS:proto/%.proto=$(B)/gen/%.pb-c.c)
GEN_H   := $(GEN_C:.c=.h)
GEN_O   := $(GEN_C:.c=.o)

LIB_DIRS := base proto raft storage rpc server
DAEMON_C := server/main.c storage/lmdb_calls.c
DAEMON_O := $(DAEMON_C:%.c=$(B)/obj/%.o)
LIB_C   := $(filter-out $(DAEMON_C),$(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c)))
LIB_O   := $(LIB_C:%.c=$(B)/obj/%.o)
LIB     := $(B)/libholdfast.a

CTL_C   := $(wildcard tools/ctl*.c)
CTL_O   := $(CTL_C:%.c=$(B)/obj/%.o)
DEMO_C  := $(wildcard tools/demo*.c)
DEMO_O  := $(DEMO_C:%.c=$(B)/obj/%.o)
# It shares the CLI's text formats.
BENCH_C := $(wildcard tools/bench*.c)
BENCH_O := $(BENCH_C:%.c=$(B)/obj/%.o)
CLIENT_C := $(wildcard tools/client*.c)
CLIENT_O := $(CLIENT_C:%.c=$(B)/obj/%.o)

UNIT_C  := $(wildcard tests/unit/*/*_test.c)
UNIT    := $(UNIT_C:tests/unit/%.c=$(B)/tests/unit/%)
SUPPORT_C := $(wildcard tests/support/*.c)
SUPPORT_O := $(SUPPORT_C:%.c=$(B)/obj/%.o)

# The history checker, and what loads and judges the simulator.
CHECK_C := $(wildcard tools/check*.c)
CHECK_O := $(CHECK_C:%.c=$(B)/obj/%.o)
CHECK_LIB_O := $(filter-out %/check_main.o,$(CHECK_O))
SIM_LOAD_C := $(wildcard tests/sim/client*.c tests/sim/history*.c tests/sim/workload*.c)
SIM_LOAD_O := $(SIM_LOAD_C:%.c=$(B)/obj/%.o) $(CHECK_LIB_O)
SIM_C   := $(filter-out $(SIM_LOAD_C),$(wildcard tests/sim/*.c))
SIM_O   := $(SIM_C:%.c=$(B)/obj/%.o) $(B)/obj/tests/support/fake_disk.o \
		$(B)/obj/tests/support/counts_check.o

.SECONDARY:
.DELETE_ON_ERROR:

.PHONY: all help deps unit unit-bin test lint demo cluster format clean

all: deps
	@$(MAKE) --no-print-directory -j$$(nproc) binaries

.PHONY: binaries
binaries: $(B)/holdfastd $(B)/holdfastctl $(B)/holdfast-check $(B)/holdfast-bench
	@:

help:
	@echo 'make demo      three nodes, kill -9 of the leader under load, the story of it'
	@echo 'make cluster   three nodes on loopback until Ctrl-C'
	@echo 'make test      everything that CI checks but lint'
	@echo 'make crash-loop ROUNDS=100 NODES=3   kill -9 of all at once under load, again and again'
	@echo 'make crash-images SEEDS=20 CUTS=2   what a power cut may leave of store and journal, at length'
	@echo 'make sim SEED=1         a seed in the simulator; TRACE=1 shows it, MINIMISE=1 shortens it'
	@echo 'make soak MINUTES=30    new seeds on all cores, report in build/soak-report.txt'
	@echo 'make fuzz TARGET=peer MINUTES=10   bytes that nobody should send (clang: with libFuzzer)'
	@echo 'make bench-compare   throughput, latency, CPU and more beside etcd (docs/performance.md)'
	@echo 'make peers     the etcd of bench-compare; needs Go 1.26, else it is what Debian has'
	@echo 'make bench     what three nodes on this machine do: the main workloads, about two minutes'
	@echo 'make measure   an idle cluster, and starts with a million keys on disk'
	@echo 'make perf-check   instructions of each operation beside the baseline (needs valgrind)'
	@echo 'make mutants   break the code on purpose, see which checker catches it'
	@echo 'make coverage  what the unit tests of raft/ run of it (MISSED=1: and what they do not)'
	@echo 'make lint      structure, purity, banned calls, formatting'
	@echo 'make unit      unit tests alone (SAN=1: with sanitizers)'
	@echo 'make all       build/holdfastd, holdfastctl, holdfast-check and holdfast-bench'
	@echo 'make deps      install the Debian packages that are missing'
	@echo 'make format    clang-format over all sources'
	@echo 'make clean     remove build/'

deps:
	@tools/deps

# ---- generated ----

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto
	@mkdir -p $(B)/gen
	$(Q)protoc-c -I proto --c_out=$(B)/gen $(notdir $<)

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c $(GEN_H)
	$(Q)$(CC) -I$(B)/gen $(GEN_CFLAGS) -c -o $@ $<

# ---- ours ----

$(B)/obj/%.o: %.c Makefile | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_O) $(GEN_O)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(B)/holdfastd: $(DAEMON_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/holdfastctl: $(CTL_O) $(CLIENT_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/holdfast-demo: $(DEMO_O) $(CLIENT_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/holdfast-bench: $(BENCH_O) $(addprefix $(B)/obj/tools/,ctl_text.o ctl_utf8.o) $(CLIENT_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/holdfast-check: $(CHECK_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/tests/unit/%_test: $(B)/obj/tests/unit/%_test.o $(SUPPORT_O) $(CHECK_LIB_O) $(CLIENT_O) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcriterion

# The programs' own parts are tested like a library: all but their mains.
$(B)/tests/unit/tools/%_test: $(B)/obj/tests/unit/tools/%_test.o $(SUPPORT_O) \
		$(filter-out %/ctl_main.o,$(CTL_O)) $(filter-out %/bench_main.o,$(BENCH_O)) \
		$(CHECK_LIB_O) $(CLIENT_O) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcriterion

# The simulator. LMDB's commits, and the names of its directories, go through tests/sim/disk.c, which
# knows who has crashed.
SIM_WRAP := -Wl,--wrap=mdb_txn_commit -Wl,--wrap=rename -Wl,--wrap=rmdir
$(B)/holdfast-sim: $(SIM_O) $(SIM_LOAD_O) $(LIB)
	$(Q)$(CC) $(LDFLAGS) $(SIM_WRAP) -o $@ $^ $(LDLIBS)

$(B)/tests/unit/sim/%_test: $(B)/obj/tests/unit/sim/%_test.o $(SUPPORT_O) $(SIM_LOAD_O) \
		$(filter-out $(SUPPORT_O) %/main.o,$(SIM_O)) $(CLIENT_O) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) $(SIM_WRAP) -o $@ $^ $(LDLIBS) -lcriterion

# Its own open, pwrite, fdatasync ... stand in front of libc's for LMDB too: exported.
CRASH_C := $(wildcard tests/crash/*.c)
$(B)/tests/crash/crash_images: $(CRASH_C:%.c=$(B)/obj/%.o) \
		$(addprefix $(B)/obj/tests/support/,store_model.o store_rig.o inline_io.o \
		counts_check.o) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LDLIBS)

# All fuzz targets in one; make test runs the sanitized one.
FUZZ_C := $(filter-out tests/fuzz/libfuzzer.c,$(wildcard tests/fuzz/*.c))
FUZZ_SUPPORT := $(addprefix tests/support/,fake_disk.c fake_io.c fake_net.c old_entry.c peer_entries.c \
		raft_rig.c request_maker.c store_rig.c snapshot_rig.c machine_rig.c inline_io.c tree_env.c)
$(B)/tests/fuzz/fuzz: $(FUZZ_C:%.c=$(B)/obj/%.o) $(FUZZ_SUPPORT:%.c=$(B)/obj/%.o) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcriterion

# What the end-to-end tests load the nodes with.
$(B)/tests/e2e/writers: $(B)/obj/tests/e2e/writers.o $(CLIENT_O) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# What perf-check counts the instructions of; whole members come with the simulator.
PERF_OPS_C := $(addprefix tests/perf/,operations.c keys.c) $(wildcard tests/perf/op_*.c)
PERF_OPS_O := $(PERF_OPS_C:%.c=$(B)/obj/%.o) $(filter-out %/main.o,$(SIM_O)) $(SIM_LOAD_O) \
		$(addprefix $(B)/obj/tests/support/,fake_io.o fake_net.o inline_io.o peer_entries.o \
		raft_rig.o store_rig.o)
$(B)/tests/perf/operations: $(PERF_OPS_O) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) $(SIM_WRAP) -o $@ $^ $(LDLIBS) -lcriterion

# ---- checks ----

unit-bin: $(UNIT)

.PHONY: e2e-bin
e2e-bin: binaries $(B)/tests/e2e/writers

.PHONY: sim-bin
sim-bin: $(B)/holdfast-sim

unit: deps
	@$(MAKE) --no-print-directory unit-bin
	@tests/run-unit $(B)

test: deps
	@tests/run

lint: deps
	@tools/lint

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

demo: all
	@$(MAKE) --no-print-directory $(B)/holdfast-demo
	@$(B)/holdfast-demo

cluster: all
	@$(MAKE) --no-print-directory $(B)/holdfast-demo
	@$(B)/holdfast-demo --cluster

# raft/ built to count what runs, and its unit tests, linked without the rest of the project.
COV      := build/cov
COV_C    := $(wildcard raft/*.c base/*.c tests/support/raft_*.c)
COV_O    := $(COV_C:%.c=$(COV)/obj/%.o)
COV_TEST := $(patsubst tests/unit/raft/%.c,$(COV)/%,$(wildcard tests/unit/raft/*_test.c))

$(COV)/obj/raft/%.o: COV_FLAGS := --coverage
$(COV)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -O0 $(COV_FLAGS) -MMD -MP -c -o $@ $<

$(COV)/%_test: $(COV)/obj/tests/unit/raft/%_test.o $(COV_O)
	$(Q)$(CC) $(LDFLAGS) --coverage -o $@ $^ $(LDLIBS) -lcriterion

.PHONY: coverage cov-tests
cov-tests: $(COV_TEST)

coverage: deps
	@$(MAKE) --no-print-directory cov-tests
	@rm -f $(COV)/obj/raft/*.gcda
	@for t in $(COV_TEST); do $$t >$(COV)/log 2>&1 || { cat $(COV)/log; exit 1; }; done
	@tools/coverage $(if $(MISSED),--missed)

# ROUNDS of kill -9 of all NODES at once under load, each followed by a check of everything.
ROUNDS := 100
NODES  := 3
SEED   := 1
.PHONY: crash-loop
crash-loop: deps
	@$(MAKE) --no-print-directory e2e-bin
	@HOLDFAST_BUILD=$(B) $(PYTHON) tests/e2e/crash_loop.py $(ROUNDS) $(NODES) $(SEED)

# What power cuts may leave, from more SEEDS and with more CUTS at each point than make test has.
SEEDS := 20
CUTS  := 2
.PHONY: crash-bin crash-images
crash-bin: $(B)/tests/crash/crash_images
crash-images: deps
	@$(MAKE) --no-print-directory crash-bin
	@$(B)/tests/crash/crash_images $(SEEDS) $(CUTS)

# One target for MINUTES. With clang it is libFuzzer, which sees what code an input reaches (clang
# is no part of `make deps`); without it seeded mutations of the corpus alone.
TARGET  := peer
MINUTES := 10
LIBFUZZER_C := $(LIB_C) $(FUZZ_SUPPORT) tests/fuzz/libfuzzer.c $(filter-out tests/fuzz/main.c \
		tests/fuzz/mutate.c,$(FUZZ_C))
.PHONY: fuzz fuzz-bin fuzz-corpus
fuzz-bin: $(B)/tests/fuzz/fuzz
fuzz: deps
	@if command -v clang >/dev/null; then \
	    $(MAKE) --no-print-directory fuzz-libfuzzer TARGET=$(TARGET) MINUTES=$(MINUTES); \
	else \
	    echo 'clang is not installed: mutations by a seed, without coverage'; \
	    $(MAKE) --no-print-directory SAN=1 fuzz-bin && \
	    build/san/tests/fuzz/fuzz tests/fuzz/corpus $(TARGET) $(MINUTES) $$(date +%s); \
	fi

.PHONY: fuzz-libfuzzer
fuzz-libfuzzer: build/fuzz/libfuzzer
	@mkdir -p build/fuzz/corpus/$(TARGET)
	@FUZZ_TARGET=$(TARGET) $< -max_total_time=$$((60 * $(MINUTES))) -max_len=65536 \
	    -artifact_prefix=build/fuzz-$(TARGET)- build/fuzz/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET)

build/fuzz/libfuzzer: $(LIBFUZZER_C) $(wildcard */*.h tests/*/*.h) $(GEN_C)
	@mkdir -p $(@D)
	$(Q)clang -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -g -O1 -std=gnu17 -w \
	    $(CPPFLAGS) -o $@ $(LIBFUZZER_C) $(GEN_C) $(LDLIBS) -lcriterion -pthread

# The seeds anew, by the encoders: after a message or a format has changed.
fuzz-corpus:
	@$(MAKE) --no-print-directory SAN=1 fuzz-bin
	@build/san/tests/fuzz/fuzz tests/fuzz/corpus --make

# etcd 3.7 and its etcdctl into build/peers where there is a Go 1.26; nothing else needs Go.
.PHONY: peers
peers: deps
	@tests/peers/build build/peers

# Holdfast beside etcd, everything on the same two cores, in turn A B A B (docs/performance.md).
# PAIRS=, SECONDS= of each run, WORKLOADS='put-64 get-1000' or short or long, SCALE=0.1 of the long
# phase's data, ONLY=holdfast, TARGET=leader or all, ETCD= another reference, DIR= on a real disk,
# CORES=0,1, BASE_PORT=; WRITE=docs/performance.md puts the table there. build/perf/results.json has all results.
.PHONY: bench-compare
bench-compare: PAIRS   := 5
bench-compare: SECONDS := 10
bench-compare: SCALE   := 1
bench-compare: TARGET  := leader
bench-compare: DIR     := build/perf
bench-compare: all
	@$(if $(ETCD)$(filter holdfast,$(ONLY)),,$(MAKE) --no-print-directory peers)
	@tests/perf/compare --build $(B) --pairs $(PAIRS) --seconds $(SECONDS) --scale $(SCALE) \
		--target $(TARGET) --dir $(DIR) $(if $(ETCD),--etcd $(ETCD)) \
		$(if $(WORKLOADS),--workloads '$(WORKLOADS)') $(if $(ONLY),--only $(ONLY)) \
		$(if $(CORES),--cores $(CORES)) $(if $(BASE_PORT),--base-port $(BASE_PORT)) \
		$(if $(WRITE),--write $(WRITE))

# Three nodes alone on this machine: the main workloads, about two minutes.
.PHONY: bench
bench: all
	@tests/perf/bench $(B)

# Instructions per operation beside tests/perf/baseline; UPDATE=1 writes that anew. Needs valgrind,
# which is no part of `make deps`.
.PHONY: perf-check
perf-check: deps
	@$(MAKE) -s --no-print-directory $(B)/tests/perf/operations
	@CC='$(CC)' tests/perf/check $(B) $(if $(UPDATE),--update)

# What an idle node costs, and a start with many keys on disk.
SECONDS := 30
KEYS    := 1000000
.PHONY: measure
measure: deps
	@$(MAKE) --no-print-directory e2e-bin
	@HOLDFAST_BUILD=$(B) $(PYTHON) tests/e2e/measure.py $(SECONDS) $(KEYS)

# Deliberate defects, one at a time, each to be caught by a checker (docs/mutants.md).
.PHONY: mutants
mutants: deps
	@tests/mutants/run

# One seed, whole members in virtual time: SEED=, NODES=, PROFILE=, SECONDS= of faults or STEPS= of
# the world, CLIENTS=, WITHOUT= faults; TRACE=1 shows it, MINIMISE=1 makes a failing run shorter,
# HISTORY=FILE has what the clients did, for holdfast-check.
PROFILE := usual
NODES   := 3
.PHONY: sim soak
sim:
	@$(MAKE) -s --no-print-directory $(B)/holdfast-sim
	@$(B)/holdfast-sim --seed $(SEED) --nodes $(NODES) --profile $(PROFILE) --seconds $(SECONDS) \
		$(if $(STEPS),--steps $(STEPS)) $(if $(CLIENTS),--clients $(CLIENTS)) \
		$(if $(WITHOUT),--without-fault $(WITHOUT)) $(if $(TRACE),--trace --plan) \
		$(if $(MINIMISE),--minimise) $(if $(HISTORY),--history $(HISTORY))

# New seeds of every profile on all cores.
MINUTES := 30
soak:
	@$(MAKE) -s --no-print-directory $(B)/holdfast-sim
	@$(B)/holdfast-sim --minutes $(MINUTES) --mix --jobs $$(nproc) --seconds $(SECONDS) \
		--report build/soak-report.txt

clean:
	rm -rf build

-include $(LIB_O:.o=.d) $(CTL_O:.o=.d) $(DEMO_O:.o=.d) $(CLIENT_O:.o=.d) $(SUPPORT_O:.o=.d) \
	$(BENCH_O:.o=.d) $(CHECK_O:.o=.d) $(SIM_LOAD_O:.o=.d) \
	$(UNIT_C:%.c=$(B)/obj/%.d) $(B)/obj/server/main.d $(COV_O:.o=.d) \
	$(COV_TEST:$(COV)/%=$(COV)/obj/tests/unit/raft/%.d) \
	$(B)/obj/tests/e2e/writers.d $(SIM_O:.o=.d) $(CRASH_C:%.c=$(B)/obj/%.d) \
	$(FUZZ_C:%.c=$(B)/obj/%.d) $(PERF_OPS_C:%.c=$(B)/obj/%.d)
