# vitrine: build, test, measure. `make help` lists what there is.
#
# VARIANT picks a build of its own under build/: release (default), asan, ubsan, asan-ubsan, tsan,
# coverage, fuzz; cross is the scorer alone, static, which needs no package.
# CC picks the compiler: gcc and clang both build without a warning; WERROR=1 makes one fatal.

VARIANT ?= release
WERROR  ?= 0
OUT     := build/$(VARIANT)
BIN     := $(OUT)/bin

ifneq ($(VARIANT),cross)
PACKAGES := libzmq msgpack libuv openblas jansson libisal libxxhash
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes \
            -Wold-style-definition -Wmissing-prototypes -Wpointer-arith -Wundef -Wvla
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(PKG_CFLAGS) $(WARNINGS) $(HARDEN) $(CFLAGS) $(VARIANT_CFLAGS) -MMD -MP
LINKAGE := -pie -pthread
ALL_LDFLAGS = $(LINKAGE) $(LDFLAGS) $(VARIANT_CFLAGS)

ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
ifeq ($(VARIANT),release)
VARIANT_CFLAGS := -D_FORTIFY_SOURCE=2
else ifeq ($(VARIANT),cross)
VARIANT_CFLAGS := -D_FORTIFY_SOURCE=2
LINKAGE := -static
else ifeq ($(VARIANT),asan)
VARIANT_CFLAGS := -fsanitize=address -fno-omit-frame-pointer -O1
else ifeq ($(VARIANT),ubsan)
VARIANT_CFLAGS := -fsanitize=undefined -fno-sanitize-recover=all -O1
else ifeq ($(VARIANT),asan-ubsan)
VARIANT_CFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
# gcc's shared libubsan does not heed log_path beside libasan: tests/run would miss a report of a child.
LINKAGE += -static-libubsan
else ifeq ($(VARIANT),tsan)
VARIANT_CFLAGS := -fsanitize=thread -O1
else ifeq ($(VARIANT),coverage)
VARIANT_CFLAGS := --coverage -fprofile-update=atomic -O0
else ifeq ($(VARIANT),fuzz)
VARIANT_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -O1
endif

# --- what is built from what: a folder is a layer, a layer is an archive -----------------------

edge_of = $(filter %_uv.c,$(1))
core_of = $(filter-out %_uv.c %/main.c,$(1))

# A kernel's file says in its name what processor it is for; elsewhere it is not built.
X86_KERNELS := %_avx2.c %_avx512.c %_avx512bf16.c %_avx512vnni.c
KERNELS := $(wildcard worker/score/kernels/*.c)
ifeq ($(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),)
KERNELS := $(filter-out $(X86_KERNELS),$(KERNELS))
endif

SRC_common           := $(wildcard common/*.c)
SRC_io               := $(wildcard common/io/*.c)
SRC_proto            := $(wildcard proto/wire/*.c) $(wildcard proto/file/*.c)
SRC_score            := $(wildcard worker/score/*.c) $(KERNELS)
SRC_store            := $(wildcard worker/store/*.c)
SRC_worker_core      := $(call core_of,$(wildcard worker/*.c))
SRC_worker_edge      := $(call edge_of,$(wildcard worker/*.c))
SRC_coordinator_core := $(call core_of,$(wildcard coordinator/*.c))
SRC_coordinator_edge := $(call edge_of,$(wildcard coordinator/*.c))
SRC_cli              := $(filter-out ops/cli/main.c,$(wildcard ops/cli/*.c))

LAYERS := common io proto score store worker_core worker_edge coordinator_core coordinator_edge cli

lib = $(OUT)/lib$(1).a
obj = $(patsubst %.c,$(OUT)/obj/%.o,$(1))

LIBS_PURE  := -lmsgpackc -lcsv -ljansson -lisal -lxxhash -lm
LIBS_WORLD := -lzmq -luv
# What benchmarks compare with; no program needs it.
LIBS_RIVAL := -lopenblas

.PHONY: all
all: ## the three programs, in build/release/bin (the default)
all: $(BIN)/vitrine $(BIN)/vitrine-coordinator $(BIN)/vitrine-worker

# The list of sources is a prerequisite of its own: an archive forgets a file that is gone.
define archive
$(call lib,$(1)): $(call obj,$(SRC_$(1))) $(OUT)/obj/$(1).list
	@rm -f $$@ && $(AR) rcs $$@ $$(filter %.o,$$^)
$(OUT)/obj/$(1).list: always
	@mkdir -p $$(@D) && echo '$(SRC_$(1))' | cmp -s - $$@ || echo '$(SRC_$(1))' >$$@
endef
.PHONY: always
$(foreach layer,$(LAYERS),$(eval $(call archive,$(layer))))

# Asked once a run, before the first compiler: a missing header is said in one line, not in hundreds.
.PHONY: packages
packages:
ifeq ($(VARIANT),cross)
	@command -v $(firstword $(CC)) >/dev/null || { echo "make: $(CC) is missing: run ops/setup --cross" >&2; exit 1; }
else
	@printf '#include <csv.h>\n' | $(CC) -E -x c - >/dev/null 2>&1 && pkg-config --exists $(PACKAGES) 2>/dev/null || \
	    { echo "make: packages are missing: run ops/setup" >&2; exit 1; }
endif

$(OUT)/obj/%.o: %.c | packages
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC $<";) $(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -c $< -o $@

# The scorer wants the optimiser in every variant; contraction stays off, so that a fused
# multiply-add is only where the code says so, and bits are the same on every machine. The build is
# for any x86-64; each kernel is for its own instruction set, and table.c asks before it runs one.
SCORE := $(OUT)/obj/worker/score
$(SCORE)/%.o: EXTRA_CFLAGS := -O3 -ffp-contract=off
ifneq ($(findstring address,$(VARIANT_CFLAGS)),)
# Told where a local variable's scope ends, the address sanitizer keeps a kernel's tile in memory: a
# fifth of the speed. All bounds, those of the stack too, are checked there as everywhere.
$(SCORE)/kernels/%.o: EXTRA_CFLAGS += -fno-sanitize-address-use-after-scope
endif
$(SCORE)/kernels/%_avx2.o: EXTRA_CFLAGS += -mavx2 -mfma
AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
$(SCORE)/kernels/%_avx512.o: EXTRA_CFLAGS += $(AVX512)
$(SCORE)/kernels/%_avx512bf16.o: EXTRA_CFLAGS += $(AVX512) -mavx512bf16
$(SCORE)/kernels/%_avx512vnni.o: EXTRA_CFLAGS += $(AVX512) -mavx512vnni

# A test's inputs are made of the same bits on every machine too.
$(OUT)/obj/tests/%.o: EXTRA_CFLAGS := -ffp-contract=off

COORDINATOR_LIBS := $(foreach l,coordinator_edge coordinator_core io proto common,$(call lib,$(l)))
WORKER_LIBS := $(foreach l,worker_edge worker_core store score io proto common,$(call lib,$(l)))
CLI_LIBS := $(foreach l,cli store score io proto common,$(call lib,$(l)))
ALL_LIBS := $(foreach l,$(LAYERS),$(call lib,$(l)))

link = @mkdir -p $(@D); echo "  LD $@"; $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(BIN)/vitrine: $(call obj,ops/cli/main.c) $(CLI_LIBS)
	$(link) $(LIBS_PURE) $(LIBS_WORLD)
$(BIN)/vitrine-coordinator: $(call obj,coordinator/main.c) $(COORDINATOR_LIBS)
	$(link) $(LIBS_PURE) -lzmq -luv
$(BIN)/vitrine-worker: $(call obj,worker/main.c) $(WORKER_LIBS)
	$(link) $(LIBS_PURE) $(LIBS_WORLD)

# --- tests -------------------------------------------------------------------------------------
# One Criterion binary a kind. tests/run counts what ran and looks for leaks.

SUPPORT := $(call obj,$(wildcard tests/support/*.c))
UNIT    := $(call obj,$(wildcard tests/unit/*/*.c))
GOLDEN  := $(call obj,$(wildcard tests/golden/*.c))
SYSTEM  := $(call obj,$(wildcard tests/system/*.c))
TEST_BINARIES := $(OUT)/tests/unit $(OUT)/tests/golden $(OUT)/tests/system

$(OUT)/tests/unit: $(UNIT) $(SUPPORT) $(ALL_LIBS)
	$(link) -lcriterion $(LIBS_PURE) $(LIBS_WORLD)
$(OUT)/tests/golden: $(GOLDEN) $(SUPPORT) $(ALL_LIBS)
	$(link) -lcriterion $(LIBS_PURE) $(LIBS_WORLD)
$(OUT)/tests/system: $(SYSTEM) $(SUPPORT) $(ALL_LIBS)
	$(link) -lcriterion $(LIBS_PURE) $(LIBS_WORLD)

.PHONY: test-packages
test-packages: packages
	@pkg-config --exists criterion 2>/dev/null || { echo "make: Criterion is missing: run ops/setup" >&2; exit 1; }
$(UNIT) $(GOLDEN) $(SYSTEM) $(SUPPORT): | test-packages

.PHONY: test unit golden system
test: ## every test, ends in "N passed, N failed"
test: all $(TEST_BINARIES)
	@tests/run $(OUT) unit golden system
unit: ## the tests of single parts
unit: $(OUT)/tests/unit
	@tests/run $(OUT) unit
golden: ## the scorer against the authors' own scores
golden: $(OUT)/tests/golden
	@tests/run $(OUT) golden
system: ## the tests with real processes
system: all $(OUT)/tests/system
	@tests/run $(OUT) system

# Real processes killed, frozen, cut off and restarted at random under load. SEED makes the faults of an
# earlier run again; CHAOS takes more flags, such as --replicas 1 (tests/chaos/run --help).
CHAOS_SECONDS ?= 600

.PHONY: chaos
chaos: ## faults at random for CHAOS_SECONDS (600), from SEED; ends in a line of counts
chaos: all
	@VITRINE_BIN="$(abspath $(BIN))" tests/chaos/run --seconds $(CHAOS_SECONDS) $(if $(SEED),--seed $(SEED)) $(CHAOS)

# The interpreter that has PyTorch, NumPy and Pillow.
PYTHON ?= /usr/bin/python3

.PHONY: python
python: ## the exporters in ops/python, run with PyTorch
python: all
	@$(PYTHON) -c 'import torch, numpy, PIL' 2>/dev/null || \
	    { echo "make: $(PYTHON) has no PyTorch, NumPy or Pillow: run ops/setup --python" >&2; exit 1; }
	@VITRINE_BIN="$(abspath $(BIN))" $(PYTHON) tests/python/run.py

# A whole cluster in one process on a fake clock, without Criterion. SEED runs one seed alone; BUG plants
# a bug in it, TRACE=1 prints every event.
SEEDS ?= 200
SIM := $(OUT)/tests/sim
SIM_LIBS := $(foreach l,coordinator_core worker_core proto common,$(call lib,$(l)))

.PHONY: sim
sim: ## a simulated cluster under faults: SEEDS (200) and the bugs that they must find; or SEED alone
sim: $(SIM)
	@$(SIM) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) \
	    $(if $(BUG),--bug $(BUG),$(if $(SEED),,--bugs)) $(if $(TRACE),--trace)
$(SIM): $(call obj,$(wildcard tests/sim/*.c) tests/support/fake_gallery.c) $(SIM_LIBS)
	$(link) $(LIBS_PURE)

.PHONY: asan ubsan asan-ubsan
asan: ## every test under the address and leak sanitizer
ubsan: ## every test under the undefined-behaviour sanitizer
asan-ubsan: ## every test under both at once, which takes the time of one
asan ubsan asan-ubsan:
	@$(MAKE) --no-print-directory VARIANT=$@ test

# Drivers of the threaded parts, each a program that exits 0. A libzmq that is not instrumented hides
# its locks from the sanitizer; what is known of that stands in tests/tsan/suppressions.
TSAN_DRIVERS := $(patsubst tests/tsan/%.c,$(OUT)/tests/tsan/%,$(wildcard tests/tsan/*.c))
TSAN_SUPPRESSIONS := $(addprefix :suppressions=,$(abspath $(wildcard tests/tsan/suppressions)))

.PHONY: tsan tsan-run
tsan: ## the threaded parts under the thread sanitizer
	@$(MAKE) --no-print-directory VARIANT=tsan tsan-run
$(TSAN_DRIVERS): $(OUT)/tests/tsan/%: $(OUT)/obj/tests/tsan/%.o $(ALL_LIBS)
	$(link) $(LIBS_PURE) $(LIBS_WORLD)
# The sanitizer wants a memory layout that some kernels no longer give, hence setarch.
tsan-run: $(TSAN_DRIVERS)
	@set -e; for driver in $^; do echo "== $$driver"; \
	    TSAN_OPTIONS="exitcode=66$(TSAN_SUPPRESSIONS)" setarch -R $$driver; done
	@echo "tsan: $(words $^) drivers, no report"

# The scorer alone, of libc alone: for this machine, and for each of CROSS, which qemu-user runs.
CROSS ?= aarch64-linux-gnu i686-linux-gnu
CROSS_SOURCES := $(wildcard tests/cross/*.c) $(addprefix tests/support/,bound.c stages.c weights_gen.c) \
                 $(filter-out %/blas.c %/fingerprint.c,$(SRC_score)) \
                 $(addprefix common/,assert.c err.c geometry.c mem.c weights.c)

.PHONY: cross cross-program
cross: ## the kernels on other processors too, under qemu-user (CROSS): the same bits everywhere
	@$(MAKE) --no-print-directory VARIANT=cross OUT=build/cross/native cross-program
	@set -e; for target in $(CROSS); do \
	    $(MAKE) --no-print-directory VARIANT=cross OUT=build/cross/$$target CC=$$target-gcc cross-program; done
	@tests/cross/run $(CROSS)
cross-program: $(OUT)/tests/cross
$(OUT)/tests/cross: $(call obj,$(CROSS_SOURCES))
	$(link) -lm

# --- what is measured --------------------------------------------------------------------------

.PHONY: coverage
# A test that limits the size of files limits the counters' files too: what libgcov says of that goes aside.
coverage: ## the tests' line and branch coverage of the program's own code, in per cent
	@find build/coverage -name '*.gcda' -delete 2>/dev/null || true
	@GCOV_ERROR_FILE=$(abspath build/coverage/errors.txt) $(MAKE) --no-print-directory VARIANT=coverage test
	@gcovr --root . --object-directory build/coverage --exclude tests/ --exclude ops/bench/ \
	    --txt build/coverage/coverage.txt --print-summary
	@echo "coverage: by file in build/coverage/coverage.txt"

# Seeds stand in tests/fuzz/corpus/NAME; what a run adds stays under build/.
FUZZ_SECONDS ?= 20
FUZZERS := $(patsubst tests/fuzz/%.c,$(OUT)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz fuzz-run
fuzz: ## each fuzzer for FUZZ_SECONDS (20)
	@$(MAKE) --no-print-directory CC=clang VARIANT=fuzz fuzz-run
$(FUZZERS): $(OUT)/tests/fuzz/%: $(OUT)/obj/tests/fuzz/%.o $(ALL_LIBS)
	$(link) -fsanitize=fuzzer $(LIBS_PURE) $(LIBS_WORLD)
fuzz-run: $(FUZZERS)
	@set -e; for fuzzer in $^; do name=$$(basename $$fuzzer); echo "== $$name"; \
	    mkdir -p $(OUT)/corpus/$$name; \
	    $$fuzzer -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=$(OUT)/$$name- $(OUT)/corpus/$$name \
	        $$(ls -d tests/fuzz/corpus/$$name 2>/dev/null); done
	@echo "fuzz: $(words $^) fuzzers, $(FUZZ_SECONDS) s each, nothing found"

BENCH_PARTS := ops/bench/support.c ops/bench/tails_chart.c
BENCHES := $(patsubst ops/bench/%.c,$(OUT)/bench/%,$(filter-out $(BENCH_PARTS),$(wildcard ops/bench/*.c)))

.PHONY: bench
bench: ## pairs/s, GFLOP/s, import MB/s, and the time outside scoring
bench: all $(BENCHES)
	@ops/bench/run $(OUT)
$(BENCHES): $(OUT)/bench/%: $(OUT)/obj/ops/bench/%.o $(call obj,$(BENCH_PARTS)) $(ALL_LIBS)
	$(link) $(LIBS_PURE) $(LIBS_WORLD) $(LIBS_RIVAL)

# The curves that are kept beside the programs, drawn anew: the same on every machine but for libm.
.PHONY: tails
tails: ## one slow worker, simulated, with and without hedges: ops/bench/tails.csv and .svg
tails: $(OUT)/bench/tails
	@$< --csv ops/bench/tails.csv --svg ops/bench/tails.svg

# Not a part of bench: it takes minutes, and as many bytes of disk as the gallery has (38 GB).
.PHONY: million
million: ## a million images imported, searched, evaluated (38 GB); MILLION=--quick takes 20,000
million: all $(OUT)/bench/synthetic
	@ops/bench/million --out $(OUT) $(MILLION)

# Not a part of bench either: minutes, 2 GB of disk, and root for the control group of one part.
.PHONY: serving
serving: ## two threads, eight clients, a lone query, a quarter of the memory; SERVING=--help
serving: all $(addprefix $(OUT)/bench/,inputs clients lone)
	@ops/bench/serving --out $(OUT) $(SERVING)

# Neither: eight minutes a number of workers, 6 GB of disk.
.PHONY: scaling
scaling: ## workers against as many bare kernels, as they grow; SCALING=--help
scaling: all $(addprefix $(OUT)/bench/,bare inputs clients)
	@ops/bench/scaling --out $(OUT) $(SCALING)

# --- what is kept to ---------------------------------------------------------------------------

.PHONY: tidy layers format
tidy: ## the rules of ARCHITECTURE.md, and proof that each can fail
tidy: layers
	@ops/tidy
	@tests/tidy/run
layers: ## the cores link without libuv, ZeroMQ and OpenBLAS; no variables at file level
layers: $(ALL_LIBS)
	@CC="$(CC)" OUT="$(OUT)" LIBS="$(LIBS_PURE)" tests/tidy/layers
format: ## clang-format over the C files
	@git ls-files -z -co --exclude-standard -- '*.c' '*.h' ':!tests/tidy' | xargs -0 clang-format -i

# --- what is done with it ----------------------------------------------------------------------

.PHONY: demo install clean help
demo: ## a sample gallery imported, served by three workers and searched
	@ops/demo
PREFIX ?= /usr/local
install: ## the programs into DESTDIR/PREFIX/bin (/usr/local/bin)
install: all
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 $(BIN)/vitrine $(BIN)/vitrine-coordinator $(BIN)/vitrine-worker "$(DESTDIR)$(PREFIX)/bin"
clean: ## away with build/
	rm -rf build
help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
