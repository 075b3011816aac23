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

# As many compilers at a time as there are processors, unless `make -jN` says how many.
JOBS ?= $(shell nproc)
PARALLEL = --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))

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
NEEDS_node     := sip usages storage topology forward fastpath link overlay wire base
NEEDS_control  := node enroll sip usages storage topology forward fastpath link overlay wire base
NEEDS_sim      := node sip usages storage topology forward fastpath link overlay wire base

PACKAGES := libcrypto libssl libsystemd libxml-2.0 sqlite3 jansson libosip2 libcares libbpf libmnl
LIBRARIES := -lm $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
# These goals begin with deps, or compile nothing; all others need the packages now.
ifneq ($(filter-out help deps deb image image-check run check check-allocation check-guest check-threads lint coverage bench soak fuzz clean,$(or $(MAKECMDGOALS),help)),)
ifneq ($(filter -lcrypto,$(LIBRARIES)),-lcrypto)
$(error Packages that building needs are missing. As root, `make deps` installs them)
endif
endif
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
override BUILD := $(BUILD)-san
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
endif

sources = $(sort $(wildcard userspace/$(1)/*.c))
objects = $(patsubst userspace/%.c,$(BUILD)/obj/%.o,$(call sources,$(1)))
archive = $(if $(call sources,$(1)),$(BUILD)/lib/lib$(1).a)
archives = $(foreach f,$(1),$(call archive,$(f)))

PROGRAMS := ringgated ringgatectl ringgate-sim ringgate-enrolld
PARTS_ringgatectl := $(patsubst userspace/%.c,$(BUILD)/obj/%.o,$(wildcard userspace/cmd/ctl_*.c))
PARTS_ringgate-sim := $(BUILD)/obj/cmd/sim_report.o
# The enrollment server holds the CA key: nothing of the peer daemon is in it, and nothing of it in the peer daemon.
NEEDS_ringgate-enrolld := enroll overlay wire base
LIBRARIES_ringgate-enrolld = -lmicrohttpd -linih -lpthread
LIBRARIES_ringgatectl = -lcurl -lcares
PROGRAM_NEEDS := sim control node enroll sip usages storage topology forward fastpath link overlay wire base
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*/test_*.c)))
BENCHES := $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/bench_*.c))

.PHONY: help all deps deb image image-check run check check-guest bench soak fuzz install clean unit programs replay fuzzers net lint \
	lint-files check-threads threads coverage
.DEFAULT_GOAL := help

help:  ## this list
	@echo "Ringgate $(VERSION): a P2PSIP site gateway on a RELOAD overlay."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo
	@echo "  V=1 shows every command, SAN=1 builds with address and undefined-behaviour sanitizers,"
	@echo "  DESTDIR= and PREFIX= apply to install, PEERS=N to run."

all: programs  ## build everything into $(BUILD)/

programs: $(PROGRAMS:%=$(BUILD)/%)

# Kernel programs: bpf/NAME.bpf.c becomes $(BUILD)/bpf/NAME.bpf.o and, for userspace to include, $(BUILD)/generated/NAME.skel.h.
# bpf/check/ holds those that only tests load. -mcpu=v3: atomic operations that return a value.
# PAD_IN_ORDER: this processor keeps loads in order, and stores (pad_take()).
BPF_SOURCES := $(sort $(wildcard bpf/*.bpf.c bpf/check/*.bpf.c))
BPF_SKELETONS := $(patsubst %.bpf.c,$(BUILD)/generated/%.skel.h,$(notdir $(BPF_SOURCES)))
BPF_CFLAGS := -target bpf -mcpu=v3 -std=gnu17 -O2 -g -Wall -Wextra $(if $(CI),-Werror) -Ibpf \
	$(if $(filter x86_64-%,$(shell $(CC) -print-multiarch 2>/dev/null)),-DPAD_IN_ORDER) \
	-I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

define bpf_rules
$(BUILD)/bpf/$(notdir $(1:.c=.o)): $(1)
	$$(say) BPF $$<
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(BPF_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach s,$(BPF_SOURCES),$(eval $(call bpf_rules,$(s))))

$(BUILD)/generated/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(say) SKEL $@
	$(Q)mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name $*_bpf >$@.new && mv $@.new $@

$(call objects,fastpath): | $(BPF_SKELETONS)
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

comma := ,
define program_rule
$(BUILD)/$(1): $(BUILD)/obj/cmd/$(1).o $(PARTS_$(1)) $(call archives,$(or $(NEEDS_$(1)),$(PROGRAM_NEEDS)))
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(if $(NEEDS_$(1)),-Wl$$(comma)--as-needed) $$(LIBRARIES) $$(LIBRARIES_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# tests/unit/FOLDER/test_NAME.c is linked with FOLDER, what FOLDER needs, and the virtual network where FOLDER uses links.
test_folder = $(firstword $(subst /, ,$(1)))
test_needs = $(call archives,$(call test_folder,$(1)) $(if $(filter forward topology storage usages node,$(call test_folder,$(1))),sim) $(NEEDS_$(call test_folder,$(1))))
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
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -MMD -MP -o $$@ $$< $(SUPPORT) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES) $$(if $$(filter enroll/%,$(1)),-lmicrohttpd -lcurl -lcares -linih) -lcmocka
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_rule,$(t))))
$(patsubst %,$(BUILD)/unit/%,$(filter fastpath/%,$(UNIT_TESTS))): | $(BPF_SKELETONS)

unit: $(UNIT_TESTS:%=$(BUILD)/unit/%)

# Unit tests again, with allocations that can be refused. The kernel program's tests need root and other things than memory.
ALLOCATION_WRAPS := malloc calloc realloc strdup strndup asprintf vasprintf abort
ALLOCATION_TESTS := $(filter-out fastpath/%,$(UNIT_TESTS))
define allocation_rule
$(BUILD)/allocation/$(1): tests/unit/$(1).c tests/allocation/allocation.c $(SUPPORT) $(call test_needs,$(1))
	$$(say) ALLOC $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) $$(ALLOCATION_WRAPS:%=-Wl,--wrap=%) -o $$@ $$< tests/allocation/allocation.c $(SUPPORT) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES) $$(if $$(filter enroll/%,$(1)),-lmicrohttpd -lcurl -lcares -linih) -lcmocka
endef
$(foreach t,$(ALLOCATION_TESTS),$(eval $(call allocation_rule,$(t))))
allocation: $(ALLOCATION_TESTS:%=$(BUILD)/allocation/%)

define bench_rule
$(BUILD)/bench/$(1): tests/bench/$(1).c $(SUPPORT) $(call archives,$(PROGRAM_NEEDS))
	$$(say) BENCH $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -MMD -MP -o $$@ $$< $(SUPPORT) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
endef
$(foreach t,$(BENCHES),$(eval $(call bench_rule,$(t))))
$(BUILD)/bench/bench_xdp: LIBRARIES += -lcmocka
$(BUILD)/bench/bench_enroll: LIBRARIES += -lmicrohttpd -lcurl -linih -lpthread
$(patsubst %,$(BUILD)/bench/%,$(BENCHES)): | $(BPF_SKELETONS)

# Programs that the network tests in tests/net use.
NET_PROGRAMS := $(patsubst tests/net/%.c,%,$(wildcard tests/net/*.c))
define net_rule
$(BUILD)/net/$(1): tests/net/$(1).c $(call archives,fastpath $(PROGRAM_NEEDS))
	$$(say) NET $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -MMD -MP -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
endef
$(foreach p,$(NET_PROGRAMS),$(eval $(call net_rule,$(p))))
net: $(NET_PROGRAMS:%=$(BUILD)/net/%)

FUZZERS := $(patsubst tests/fuzz/%.c,%,$(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/fuzz_*.c)))

# The same target twice: replayed over its corpus by `make check`, and driven by libFuzzer in `make fuzz`.
define fuzz_rule
$(BUILD)/replay/$(1): tests/fuzz/$(1).c tests/fuzz/replay.c $(call archives,$(PROGRAM_NEEDS)) $(SUPPORT)
	$$(say) REPLAY $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -Wno-missing-prototypes -o $$@ tests/fuzz/$(1).c tests/fuzz/replay.c \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
$(BUILD)/fuzz/$(1): tests/fuzz/$(1).c $(call archives,$(PROGRAM_NEEDS)) $(SUPPORT)
	$$(say) FUZZ $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests $$(ALL_CFLAGS) -fsanitize=fuzzer $$(ALL_LDFLAGS) -Wno-missing-prototypes -o $$@ tests/fuzz/$(1).c \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBRARIES)
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))
$(BUILD)/replay/fuzz_http $(BUILD)/fuzz/fuzz_http: LIBRARIES += -lmicrohttpd
$(BUILD)/replay/fuzz_enroll $(BUILD)/fuzz/fuzz_enroll: LIBRARIES += -lcurl -lcares
$(BUILD)/replay/fuzz_enroll $(BUILD)/fuzz/fuzz_enroll: ALL_LDFLAGS += -Wl,--wrap=https_exchange

replay: $(FUZZERS:%=$(BUILD)/replay/%)
fuzzers: $(FUZZERS:%=$(BUILD)/fuzz/%)

# Debian 12 and 13. Asked for by name, from the machine's own sources; nothing happens when all are there.
DEPENDENCIES := gcc make pkg-config clang llvm libbpf-dev libmnl-dev libssl-dev libsystemd-dev libosip2-dev libxml2-dev libsqlite3-dev \
	libjansson-dev uthash-dev libcap2-bin libcmocka-dev iproute2 tcpdump sip-tester sipsak baresip-core tshark openssl mandoc bpftool \
	python3 procps mount libmicrohttpd-dev libcurl4-openssl-dev libc-ares-dev libinih-dev debhelper

deps:  ## install what building and testing need (apt, as root)
	$(Q)appliance/install-packages.sh $(DEPENDENCIES)

# pkg-config answers only once the packages are there: a second make reads the Makefile again.
run: deps  ## start PEERS=5 gateways on this machine and say how to use them (ONCE=1: do the example call and end)
	$(Q)$(MAKE) $(PARALLEL) programs
	$(Q)exec env BUILD=$(BUILD) PEERS=$(PEERS) ONCE=$(ONCE) KEYLOG=$(KEYLOG) PCAP=$(PCAP) appliance/trial/run.sh

check: deps  ## build and run all tests
	$(Q)$(MAKE) $(PARALLEL) CI=1 programs net
	$(Q)$(MAKE) $(PARALLEL) CI=1 SAN=1 unit replay programs
	$(Q)exec env BUILD=$(BUILD) tests/run-tests.sh $(TESTS)

check-allocation: deps  ## unit tests with memory running out, at POINTS=40 places each (TESTS=… some of them)
	$(Q)$(MAKE) $(PARALLEL) CI=1 SAN=1 allocation
	$(Q)exec env BUILD=$(BUILD)-san tests/allocation/run.sh $(TESTS)

# A stamp for each source that clang-tidy and cppcheck had nothing to say about; it is looked at again when it or a header changes.
# What is asked and what is left out, with reasons: .clang-tidy and tests/lint/cppcheck.suppressions.
LINT_SOURCES := $(sort $(wildcard userspace/*/*.c tests/support/*.c))
LINT_CPPFLAGS = $(CPPFLAGS) -Itests
$(BUILD)/lint/%.tidy: %.c .clang-tidy
	$(say) TIDY $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LINT_CPPFLAGS) -std=gnu17 -MM -MP -MT $@ -MF $@.d $<
	$(Q)clang-tidy --quiet $< -- -std=gnu17 -Itests/lint/model $(LINT_CPPFLAGS) 2>$@.log || { grep -v 'warnings\? generated' $@.log; exit 1; }
	$(Q)touch $@
$(BUILD)/lint/%.cppcheck: %.c tests/lint/cppcheck.suppressions tests/lint/macros.cfg
	$(say) CPPCHECK $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LINT_CPPFLAGS) -std=gnu17 -MM -MP -MT $@ -MF $@.d $<
	$(Q)cppcheck --quiet --enable=warning,portability,performance --std=c11 --inline-suppr --error-exitcode=1 --library=tests/lint/macros.cfg \
		--suppressions-list=tests/lint/cppcheck.suppressions -Iuserspace -Ibpf -Itests -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $<
	$(Q)touch $@
$(LINT_SOURCES:%.c=$(BUILD)/lint/%.tidy): | $(BPF_SKELETONS)
lint-files: $(LINT_SOURCES:%.c=$(BUILD)/lint/%.tidy) $(LINT_SOURCES:%.c=$(BUILD)/lint/%.cppcheck)

lint: deps  ## let clang-tidy and cppcheck read the sources that have changed (at first: ten minutes of one core)
	$(Q)appliance/install-packages.sh clang-tidy cppcheck
	$(Q)$(MAKE) $(PARALLEL) --keep-going CI=1 lint-files

# The tests of what has threads: pads, errands, pins and sockets that several threads share; the network tests are named in run.sh.
THREAD_TESTS := $(addprefix fastpath/test_,errands engine live links pad_ring pad_worker) link/test_shared
threads: $(THREAD_TESTS:%=$(BUILD)/unit/%) $(BUILD)/ringgated $(BUILD)/ringgatectl $(BUILD)/ringgate-enrolld net
check-threads: deps  ## what uses threads, under the thread sanitizer (TESTS=… some of it)
	$(Q)$(MAKE) $(PARALLEL) BUILD=$(BUILD)-tsan CFLAGS="-O1 -g -fsanitize=thread -Wno-tsan" LDFLAGS=-fsanitize=thread threads
	$(Q)exec env BUILD=$(BUILD)-tsan tests/threads/run.sh $(TESTS)

coverage: deps  ## which lines the unit tests and corpora reach (COVERAGE_NET=1: the network tests also; docs/testing.md)
	$(Q)appliance/install-packages.sh gcovr
	$(Q)$(MAKE) $(PARALLEL) BUILD=$(BUILD)-coverage CFLAGS="-O0 -g --coverage -fprofile-update=atomic" LDFLAGS=--coverage \
		unit replay $(if $(filter 1,$(COVERAGE_NET)),programs net)
	$(Q)exec env BUILD=$(BUILD)-coverage tests/coverage/run.sh

# Other kernels' verifiers: GUEST_SUITES of Debian, whose kernels are fetched from the machine's own package source.
GUEST_SUITES ?= trixie
check-guest: deps  ## boot the kernel of GUEST_SUITES=trixie in a virtual machine and test the kernel program there
	$(Q)appliance/install-packages.sh qemu-system-x86 busybox-static cpio xz-utils
	$(Q)$(MAKE) $(PARALLEL) CI=1 $(patsubst %,$(BUILD)/unit/%,$(filter fastpath/%,$(UNIT_TESTS)))
	$(Q)for suite in $(GUEST_SUITES); do GUEST=1 SUITE=$$suite BUILD=$(BUILD) tests/guest/verifier.sh || exit 1; done

bench: deps  ## measure; figures go to build/bench.json
	$(Q)$(MAKE) $(PARALLEL) programs $(BENCHES:%=$(BUILD)/bench/%)
	$(Q)exec env BUILD=$(BUILD) tests/bench/run-bench.sh $(BENCH)

soak: deps  ## an hour of 16 gateways with calls, then hours of simulated faults; memory has to stay flat
	$(Q)$(MAKE) $(PARALLEL) programs
	$(Q)env BUILD=$(BUILD) tests/soak/overlay.sh
	$(Q)exec env BUILD=$(BUILD) tests/soak/simulator.sh

TIME ?= 60
fuzz: deps  ## run every fuzz target for TIME=60 seconds (libFuzzer)
	$(Q)exec env BUILD=$(BUILD) TIME=$(TIME) tests/fuzz/run-fuzz.sh $(FUZZ)

install: programs  ## install programs, man pages, completion, units and the settings files below DESTDIR
	install -Dm755 -t $(DESTDIR)$(PREFIX)/sbin $(BUILD)/ringgated $(BUILD)/ringgate-enrolld
	install -Dm755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/ringgatectl $(BUILD)/ringgate-sim
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/man/*.1
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man5 docs/man/*.5
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/*.8
	install -Dm644 appliance/completion/ringgate.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ringgatectl
	for name in ringgated ringgate-sim ringgate-enrolld; do \
		ln -sf ringgatectl $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$name || exit 1; done
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions appliance/completion/_ringgate
	install -dm755 $(DESTDIR)$(SYSCONFDIR)/ringgate
	for name in ringgate ringgate-enrolld; do \
		[ -e $(DESTDIR)$(SYSCONFDIR)/ringgate/$$name.conf ] || \
		install -Dm644 -t $(DESTDIR)$(SYSCONFDIR)/ringgate appliance/$$name.conf || exit 1; \
		install -Dm644 appliance/$$name.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/$$name.conf || exit 1; \
		install -Dm644 appliance/$$name.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/$$name.conf || exit 1; done
	install -Dm644 -t $(DESTDIR)$(UNITDIR) appliance/*.socket appliance/*.service
	sed -i 's|/usr/local/sbin|$(PREFIX)/sbin|' $(DESTDIR)$(UNITDIR)/ringgated.service $(DESTDIR)$(UNITDIR)/ringgated@.service $(DESTDIR)$(UNITDIR)/ringgate-enrolld.service

deb:  ## make the Debian packages of this machine's release in build/deb
	$(Q)appliance/install-packages.sh $(DEPENDENCIES)
	$(Q)BUILD=$(BUILD) appliance/build-deb.sh

IMAGE_PACKAGES := mmdebstrap debian-archive-keyring zstd openssl kmod cpio xz-utils dpkg-dev
image:  ## make the appliance: disk image, update and root for containers (root, x86_64; docs/appliance.md)
	$(Q)appliance/install-packages.sh $(IMAGE_PACKAGES)
	$(Q)images/build.sh

image-check: deps  ## make the image if it is not there, and test it in a virtual machine and in containers
	$(Q)appliance/install-packages.sh $(IMAGE_PACKAGES) qemu-system-x86 qemu-utils ovmf systemd-container lintian
	$(Q)$(MAKE) $(PARALLEL) CI=1 programs net
	$(Q)images/build.sh
	$(Q)BUILD=$(BUILD) tests/net/packages.sh
	$(Q)BUILD=$(BUILD) BOOT_LIMIT_MS=$${BOOT_LIMIT_MS:-5000} RESTART_LIMIT_MS=$${RESTART_LIMIT_MS:-2000} tests/net/appliance.sh
	$(Q)BUILD=$(BUILD) IMAGE=1 tests/guest/image.sh

clean:  ## remove what was built
	rm -rf $(BUILD) build build-san build-fuzz build-tsan build-coverage

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
