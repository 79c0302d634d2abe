# vitrine: build, test, measure. `make help` lists what there is.
#
# VARIANT picks a build of its own under build/: release (default), asan, ubsan, tsan, coverage.
# CC picks the compiler: gcc and clang both build without a warning; WERROR=1 makes one fatal.

VARIANT ?= release
WERROR  ?= 0
OUT     := build/$(VARIANT)
BIN     := $(OUT)/bin

PACKAGES := libzmq msgpack libuv openblas jansson libisal libxxhash
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes \
            -Wold-style-definition -Wmissing-prototypes -Wpointer-arith -Wundef -Wvla
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(PKG_CFLAGS) $(WARNINGS) $(HARDEN) $(CFLAGS) $(VARIANT_CFLAGS) -MMD -MP
ALL_LDFLAGS = -pie -pthread $(LDFLAGS) $(VARIANT_CFLAGS)

ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
ifeq ($(VARIANT),release)
VARIANT_CFLAGS := -D_FORTIFY_SOURCE=2
else ifeq ($(VARIANT),asan)
VARIANT_CFLAGS := -fsanitize=address -fno-omit-frame-pointer -O1
else ifeq ($(VARIANT),ubsan)
VARIANT_CFLAGS := -fsanitize=undefined -fno-sanitize-recover=all -O1
else ifeq ($(VARIANT),tsan)
VARIANT_CFLAGS := -fsanitize=thread -O1
else ifeq ($(VARIANT),coverage)
VARIANT_CFLAGS := --coverage -O0
endif

# --- what is built from what: a folder is a layer, a layer is an archive -----------------------

edge_of = $(filter %_uv.c,$(1))
core_of = $(filter-out %_uv.c %/main.c,$(1))

SRC_common           := $(wildcard common/*.c)
SRC_io               := $(wildcard common/io/*.c)
SRC_proto            := $(wildcard proto/wire/*.c) $(wildcard proto/file/*.c)
SRC_score            := $(wildcard worker/score/*.c)
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
LIBS_WORLD := -lzmq -luv -lopenblas

.PHONY: all
all: $(BIN)/vitrine $(BIN)/vitrine-coordinator $(BIN)/vitrine-worker

define archive
$(call lib,$(1)): $(call obj,$(SRC_$(1)))
	@rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach layer,$(LAYERS),$(eval $(call archive,$(layer))))

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC $<";) $(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -c $< -o $@

# The scorer's plain loops (mask, maxima) want the vectoriser; contraction stays off so that they
# give the same bits on every machine.
$(OUT)/obj/worker/score/%.o: EXTRA_CFLAGS := -O3 -ffp-contract=off

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

.PHONY: unit golden
unit: $(OUT)/tests/unit
	tests/run $(OUT) unit
golden: $(OUT)/tests/golden
	tests/run $(OUT) golden

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
