# SPDX-License-Identifier: BSD-2-Clause
# Ringgate. `make help` lists the targets.

BUILD  ?= build
CC     ?= gcc
CLANG  ?= clang
PREFIX ?= /usr
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
PEERS  ?= 5
VERSION := 0.1

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
endif

# Folders in the order of docs/architecture.md: each may use those in front of it.
FOLDERS := base wire overlay link fastpath forward topology storage usages sip enroll node control sim

# What each folder's code needs when it is linked.
NEEDS_base     :=
NEEDS_wire     := base
NEEDS_overlay  := wire base
NEEDS_link     := overlay wire base
NEEDS_fastpath := link overlay wire base
NEEDS_forward  := link overlay wire base
NEEDS_topology := forward link overlay wire base
NEEDS_storage  := topology forward link overlay wire base
NEEDS_usages   := storage topology forward link overlay wire base
NEEDS_sip      := base
NEEDS_enroll   := overlay wire base
NEEDS_node     := sip usages storage topology forward link overlay wire base
NEEDS_control  := node sip usages storage topology forward link overlay wire base
NEEDS_sim      := usages storage topology forward link overlay wire base

PACKAGES := libcrypto libssl libsystemd libxml-2.0 sqlite3 jansson libosip2
LIBRARIES := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -linih
CPPFLAGS += -Iuserspace -Ibpf -I$(BUILD)/generated -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DSYSCONFDIR='"$(SYSCONFDIR)"' \
	$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 \
	-Wno-missing-field-initializers
ifneq ($(CI),)
WARNINGS += -Werror
endif
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu17 $(WARNINGS) -fno-strict-aliasing -fvisibility=hidden -fstack-protector-strong -fPIE $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
ifeq ($(SAN),1)
BUILD := $(BUILD)-san
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
endif

sources = $(sort $(wildcard userspace/$(1)/*.c))
objects = $(patsubst userspace/%.c,$(BUILD)/obj/%.o,$(call sources,$(1)))
archive = $(if $(call sources,$(1)),$(BUILD)/lib/lib$(1).a)
archives = $(foreach f,$(1),$(call archive,$(f)))

PROGRAMS := ringgated ringgatectl
PARTS_ringgatectl := $(patsubst userspace/%.c,$(BUILD)/obj/%.o,$(wildcard userspace/cmd/ctl_*.c))
PROGRAM_NEEDS := control node enroll sip usages storage topology forward fastpath link overlay wire base
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*/test_*.c)))
BENCHES := $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/bench_*.c))

.PHONY: help all deps run check bench fuzz image install clean unit programs
.DEFAULT_GOAL := help

help:  ## this list
	@echo "Ringgate $(VERSION): a P2PSIP site gateway on a RELOAD overlay."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  V=1 shows every command, SAN=1 builds with address and undefined-behaviour sanitizers,"
	@echo "  DESTDIR= and PREFIX= apply to install, PEERS=N to run."

all: programs  ## build everything into $(BUILD)/

programs: $(PROGRAMS:%=$(BUILD)/%)

$(BUILD)/obj/%.o: userspace/%.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

define folder_rules
$(BUILD)/lib/lib$(1).a: $(call objects,$(1))
	$$(say) AR $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(if $(call sources,$(f)),$(eval $(call folder_rules,$(f)))))

define program_rule
$(BUILD)/$(1): $(BUILD)/obj/cmd/$(1).o $(PARTS_$(1)) $(call archives,$(PROGRAM_NEEDS))
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# tests/unit/FOLDER/test_NAME.c is linked with FOLDER, what FOLDER needs, and the virtual network where FOLDER uses links.
test_folder = $(firstword $(subst /, ,$(1)))
test_needs = $(call archives,$(call test_folder,$(1)) $(if $(filter forward topology storage usages,$(call test_folder,$(1))),sim) $(NEEDS_$(call test_folder,$(1))))
# An archive, so that a test of a lower folder does not need what the helpers of higher ones call.
SUPPORT := $(BUILD)/lib/libsupport.a
SUPPORT_OBJECTS := $(patsubst tests/support/%.c,$(BUILD)/obj/support/%.o,$(wildcard tests/support/*.c))

$(SUPPORT): $(SUPPORT_OBJECTS)
	$(say) AR $@
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/obj/support/%.o: tests/support/%.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

define unit_rule
$(BUILD)/unit/$(1): tests/unit/$(1).c $(SUPPORT) $(call test_needs,$(1))
	$$(say) TEST $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -MMD -MP -o $$@ $$< $(SUPPORT) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES) -lcmocka
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_rule,$(t))))

unit: $(UNIT_TESTS:%=$(BUILD)/unit/%)

define bench_rule
$(BUILD)/bench/$(1): tests/bench/$(1).c $(SUPPORT) $(call archives,sim $(PROGRAM_NEEDS))
	$$(say) BENCH $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -MMD -MP -o $$@ $$< $(SUPPORT) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
endef
$(foreach t,$(BENCHES),$(eval $(call bench_rule,$(t))))

clean:  ## remove what was built
	rm -rf $(BUILD) build build-san

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
