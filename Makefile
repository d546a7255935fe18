# fsbox. `make help` lists the targets; `sh tools/deps.sh` installs what is needed; docs/testing.md tells the rest.
#
#   VARIANT=       build/        programs as they are installed
#   VARIANT=asan   build/asan    AddressSanitizer and UndefinedBehaviorSanitizer, dynamic
#   VARIANT=ubsan  build/ubsan   UBSan in trap mode: needs no runtime library, so it works after pivot_root
#   VARIANT=fault  build/fault   stages of a cell's life can be made to fail
#   VARIANT=fuzz   build/fuzz    clang's libFuzzer
#   DEV=1 makes warnings errors · STD=gnu23 · STATIC=0 links the programs dynamically · V=1 shows commands
VERSION := 0.1.0
VARIANT ?=
STD     ?= gnu17
PREFIX  ?= /usr/local
STATIC  ?= 1
CC      := $(if $(filter fuzz,$(VARIANT)),clang,$(if $(filter default,$(origin CC)),gcc,$(CC)))
CFLAGS  ?= -O2 -g
B       := build$(if $(VARIANT),/$(VARIANT))
Q       := $(if $(V),,@)
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
all:

# ---- Flags (the reasons stand in docs/style.md) ----
IS_CLANG := $(findstring clang,$(CC))
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wundef -Wvla \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wredundant-decls -Wdate-time \
	-Wnull-dereference -Wdouble-promotion -Wno-missing-field-initializers \
	-Werror=return-type -Werror=int-conversion -Werror=incompatible-pointer-types \
	-Werror=implicit-function-declaration -Werror=format-security \
	$(if $(IS_CLANG),-Wno-format-nonliteral -Wno-gnu-folding-constant,-Wformat-signedness -Wlogical-op \
	-Wduplicated-cond -Wduplicated-branches -Wjump-misses-init -Werror=override-init)
HARDEN := -fstack-protector-strong -fstack-clash-protection $(if $(IS_CLANG),,-ftrivial-auto-var-init=zero) \
	$(if $(filter x86_64%,$(shell $(CC) -dumpmachine 2>/dev/null)),-fcf-protection)
FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(IS_CLANG),2,3)
SAN_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
SAN_ubsan := -fsanitize=undefined -fsanitize-undefined-trap-on-error
SAN_fuzz  := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
SAN       := $(SAN_$(VARIANT))
DEFS_fault := -DFSBOX_FAULTS=1

LIBS       := libseccomp libnl-3.0 jansson libcrypto
LIB_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(LIBS) 2>/dev/null))
LINK_STATIC := $(if $(filter 1,$(STATIC)),$(if $(filter asan fuzz,$(VARIANT)),,1))
LIB_LDLIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lm
CPP_ALL := -D_GNU_SOURCE -DFSBOX_VERSION='"$(VERSION)"' $(DEFS_$(VARIANT)) -Isandbox -I. -I$(B)/gen $(LIB_CFLAGS) $(CPPFLAGS)
C_ALL   := -std=$(STD:gnu23=gnu2x) $(CFLAGS) $(WARN) $(HARDEN) $(if $(filter asan fuzz,$(VARIANT)),,$(FORTIFY)) \
	-fno-common -fno-strict-aliasing -fvisibility=hidden $(SAN)
LD_ALL  := -Wl,-z,relro,-z,now -Wl,--as-needed $(SAN) $(LDFLAGS)
# A build without DEV shows warnings once; what had some is built again by the next build with DEV, which refuses them.
define COMPILE
	@echo "  CC      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(C_ALL) $(if $(DEV),-Werror) -fPIE -MMD -MP -c -o $@ $< 2>$@.warned; r=$$?; \
		cat $@.warned >&2; [ -s $@.warned ] || rm -f $@.warned; exit $$r
endef
$(if $(DEV),$(shell find $(B)/obj -name '*.warned' -exec sh -c 'for w; do rm -f "$$w" "$${w%.warned}"; done' sh {} + 2>/dev/null))

# ---- Sources: a folder that is not there yet is empty ----
LIB_SRC     := $(wildcard $(addsuffix /*.c,$(addprefix sandbox/,base sys json spec wire rootfs confine package cell) cgroup netns snapshot)) \
	       $(wildcard $(addprefix sandbox/daemon/,server.c conn.c dispatch.c out.c peers.c peers_json.c journal.c once.c siphash.c) sandbox/runtime/channel.c $(addprefix sandbox/runtime/api/,http.c json.c state.c logframe.c))
CLI_SRC     := $(wildcard sandbox/cli/*.c)
SPAWN_SRC   := $(wildcard sandbox/spawn/*.c)
PUBLISH_SRC := $(wildcard sandbox/publish/*.c)
ASSIST_SRC  := $(filter-out %/library.c %/napi.c,$(wildcard sandbox/runtime/assist/*.c))
NATIVE_SRC  := $(wildcard sandbox/runtime/native/*.c sandbox/runtime/channel.c) $(ASSIST_SRC)
API_SRC     := $(wildcard sandbox/runtime/api/*.c sandbox/runtime/channel.c)
INIT_SRC    := $(wildcard sandbox/runtime/init/*.c)
POLICYC_SRC := $(wildcard tools/policyc.c tools/policyc/*.c)
POLICY_JSON := $(wildcard policies/*.json policies/profiles/*.json)
EXAMPLES    := $(wildcard contrib/examples/*.c)
FUNCTIONS   := $(wildcard tests/functions/*.c)
SUITES      := unit policy kernel system fault escape conformance
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_OBJ  := $(call obj,$(LIB_SRC)) $(if $(POLICYC_SRC),$(B)/obj/gen/policies.o)
# What policyc is made of, without the table that it writes.
POLICYC_OBJ := $(call obj,$(POLICYC_SRC) $(filter sandbox/base/% sandbox/sys/% sandbox/json/% sandbox/spec/% \
	sandbox/confine/filter%,$(LIB_SRC)))
POLICYC  ?= $(B)/tools/policyc
PYTHON_SRC := $(shell find sandbox/runtime/python -name '*.py' 2>/dev/null)
NODE_SRC   := $(shell find sandbox/runtime/node -name '*.cjs' -o -name '*.js' 2>/dev/null)
RUNTIME  := $(if $(INIT_SRC),$(B)/runtime/init $(B)/runtime/enter) $(if $(NATIVE_SRC),$(B)/runtime/native $(B)/runtime/assist.so $(B)/runtime/api $(B)/runtime/unpack $(B)/runtime/probe.so) $(if $(PYTHON_SRC),$(B)/runtime/python/.made) $(if $(NODE_SRC),$(B)/runtime/node/.made)
PROGRAMS := $(if $(CLI_SRC),$(B)/fsbox) $(if $(SPAWN_SRC),$(B)/fsbox-spawn $(B)/fsbox-publish $(B)/fsboxd) $(if $(wildcard sandbox/oci/main.c),$(B)/fsbox-oci $(if $(shell pkg-config --exists libsystemd && echo 1),$(B)/fsbox-scope)) $(RUNTIME)
EXAMPLE_SO  := $(patsubst contrib/examples/%.c,$(B)/examples/%.so,$(EXAMPLES)) \
	$(if $(shell command -v $(CXX)),$(patsubst contrib/examples/%.cpp,$(B)/examples/%-cpp.so,$(wildcard contrib/examples/*.cpp)))
FUNCTION_SO := $(patsubst tests/functions/%.c,$(B)/tests/functions/%.so,$(FUNCTIONS))
suite = $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/$(1)/$(if $(filter unit,$(1)),test_)*.c))
FUZZERS  := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH    := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/bench/*.c))

all: $(B)/libfsbox.a $(PROGRAMS) $(EXAMPLE_SO)  ## build everything (default)

# ---- What every object waits for: the libraries, and the same flags as last time ----
$(B)/.libs: tools/deps.sh | $(B)/
	$(Q)sh tools/deps.sh --check-libs $(LIBS) $(DAEMON_LIBS) libarchive
	$(Q)touch $@
$(B)/.flags: FORCE | $(B)/
	$(Q)printf '%s\n' '$(subst ','\'',$(CC) $(CPP_ALL) $(C_ALL))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(CC) $(CPP_ALL) $(C_ALL))' >$@
$(B)/ $(B)/gen/:
	$(Q)mkdir -p $@
FORCE:

# ---- Objects and programs ----
$(B)/obj/%.o: %.c $(B)/.flags | $(B)/.libs
	$(COMPILE)
$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/.flags
	$(COMPILE)
$(B)/libfsbox.a: $(LIB_OBJ)
	@echo "  AR      $@"
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(LIB_OBJ)
$(B)/tests/libtest.a: $(call obj,$(wildcard tests/lib/*.c))
	@echo "  AR      $@"
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

$(B)/tools/policyc: $(POLICYC_OBJ)
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $(POLICYC_OBJ) $(LIB_LDLIBS)
$(B)/gen/policies.c: $(POLICYC) $(POLICY_JSON) | $(B)/gen/
	@echo "  POLICY  $@"
	$(Q)$(POLICYC) -o $@ $(POLICY_JSON)

# libnl's parser of addresses, which nothing calls, draws in getaddrinfo(3); the linker's warning of it says nothing here.
$(B)/fsbox-spawn: $(call obj,$(SPAWN_SRC))
$(B)/fsbox-publish: $(call obj,$(PUBLISH_SRC))
$(B)/fsbox: $(call obj,$(CLI_SRC))
$(B)/fsbox $(B)/fsbox-spawn $(B)/fsbox-publish: $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)$(CC) $(if $(LINK_STATIC),-static-pie,-pie) $(LD_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIB_LDLIBS) 2>$@.log || { cat $@.log >&2; exit 1; }
	$(Q)sed '/in function/{N;/in statically linked applications/d}' $@.log >&2

# The cell's PID 1, and what `fsbox exec` enters by, have no libc and no relocations to apply: their start is nearly free.
INIT_CFLAGS := -std=$(STD:gnu23=gnu2x) -Os -g $(WARN) -ffreestanding -fno-stack-protector -fno-pie -fno-common \
	-fno-strict-aliasing -fno-asynchronous-unwind-tables -fcf-protection=none
$(B)/runtime/init: $(INIT_SRC)
$(B)/runtime/enter: sandbox/runtime/enter/enter.c
$(B)/runtime/init $(B)/runtime/enter: $(wildcard sandbox/runtime/init/*.h sandbox/runtime/enter/*.h sandbox/runtime/*.h) Makefile $(B)/.flags
	@echo "  CC      $@"
	$(Q)mkdir -p $(@D) && $(CC) -D_GNU_SOURCE -Isandbox -I. $(INIT_CFLAGS) $(if $(DEV),-Werror) -static -nostdlib \
		-no-pie -s -Wl,-z,noexecstack,-z,norelro,-z,noseparate-code,--build-id=none -o $@ $(filter %.c,$^)
# The runtime loads the function with dlopen(3), so it is dynamic, and offers the fsbox_… symbols to it. What runs under a
# filter and a memory limit has UBSan's traps instead of a sanitizer that needs a library.
NATIVE_ALL = $(filter-out $(SAN),$(C_ALL)) $(if $(filter asan fuzz ubsan,$(VARIANT)),$(SAN_ubsan))
$(B)/runtime/native: $(NATIVE_SRC) $(wildcard sandbox/runtime/*.h sandbox/runtime/native/*.h sandbox/runtime/assist/*.h) Makefile $(B)/.flags
	@echo "  CC      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(NATIVE_ALL) $(if $(DEV),-Werror) -fPIE -pie '-Wl,--export-dynamic-symbol=fsbox_*' \
		$(filter-out $(SAN),$(LD_ALL)) -o $@ $(NATIVE_SRC) -ldl
# Functions are built as their authors build them, with no flag of ours. `/* libs: jansson */`: packages; `/* link: -l… */`: words.
FUNCTION_LIBS = $(shell sed -n 's|.*/\* libs: \(.*\) \*/.*|\1|p' $<)
FUNCTION_LINK = $(shell sed -n 's|.*/\* link: \(.*\) \*/.*|\1|p' $<)
FUNCTION_DEFS =
$(B)/tests/functions/%.so: FUNCTION_DEFS = -D_GNU_SOURCE
define BUILD_FUNCTION
	@echo "  SO      $@"
	$(Q)mkdir -p $(@D) && $(CC) -std=$(STD:gnu23=gnu2x) $(FUNCTION_DEFS) -O2 -g -Wall -Wextra $(if $(DEV),-Werror) -shared \
		-fPIC -Isandbox/runtime $(if $(FUNCTION_LIBS),$(shell pkg-config --cflags $(FUNCTION_LIBS))) \
		-MMD -MP -MF $@.d -o $@ $< $(if $(FUNCTION_LIBS),$(shell pkg-config --libs $(FUNCTION_LIBS))) $(FUNCTION_LINK)
endef
$(B)/runtime/probe.so: sandbox/runtime/probe/probe.c # for `fsbox check`
	$(BUILD_FUNCTION)
$(B)/examples/%.so: contrib/examples/%.c
	$(BUILD_FUNCTION)
$(B)/examples/%-cpp.so: contrib/examples/%.cpp
	@echo "  SO      $@"
	$(Q)mkdir -p $(@D) && $(CXX) -O2 -g -Wall -Wextra -shared -fPIC -Isandbox/runtime -MMD -MP -MF $@.d -o $@ $<
$(B)/tests/functions/%.so: tests/functions/%.c
	$(BUILD_FUNCTION)

# ---- Tests ----
$(B)/tests/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/tests/fuzz/replay.o) $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer) -o $@ $^ $(LIB_LDLIBS)
# The contestants of the benchmark that only execute system calls: static, so that their own start costs least.
BENCH_LINK = -static -no-pie
$(B)/tests/bench/exit $(B)/tests/bench/hold: BENCH_LINK = -static -no-pie -nostdlib -nostartfiles
$(B)/tests/bench/bare: BENCH_LINK = -pie
BENCH_LIB := $(addprefix $(B)/tests/bench/,snapshots daemon daemon_frames daemon_starts)
$(BENCH_LIB): $(B)/tests/bench/%: $(B)/obj/tests/bench/%.o $(B)/tests/libtest.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS)
$(B)/tests/bench/%: $(B)/obj/tests/bench/%.o
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(BENCH_LINK) $(LD_ALL) -o $@ $<
$(B)/tests/%: $(B)/obj/tests/%.o $(B)/tests/libtest.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $< $(B)/tests/libtest.a $(B)/libfsbox.a $(LIB_LDLIBS)

programs-%:
	@:
define SUITE
programs-$(1): $(call suite,$(1)) $(if $(filter system,$(1)),$(B)/tools/gencli $(B)/tools/genprotocol) $(if $(filter unit system fault escape conformance,$(1)),$(FUNCTION_SO) $(if $(filter unit,$(1)),$(RUNTIME),all))
check-$(1):
	$$(Q)sh tests/run.sh $(1)
endef
$(foreach s,$(SUITES),$(eval $(call SUITE,$(s))))
programs-fuzz: $(FUZZERS)
functions: $(FUNCTION_SO)
runtime: $(RUNTIME)

check:  ## build with DEV=1 and run all tests, the guest's subset on pure cgroup v2 too
	$(Q)sh tests/run.sh
check-all:  ## everything on all tiers, long fuzzing, lint-all, a bare Debian root
	$(Q)sh tests/run.sh --all
check-guest:  ## the guest's subset alone; TIER=guest-6.1, guest-6.12, guest-systemd: everything there
	$(Q)sh tests/run.sh $(or $(TIER),guest)
kernel-table:  ## run tests/kernel here and in the guests, make docs/kernel-requirements.md
	$(Q)sh tests/guest/kernel-table.sh
check-fuzz fuzz-short:
	$(Q)sh tests/run.sh fuzz
FUZZ_SECONDS ?= 600
fuzz:  ## fuzz every target for FUZZ_SECONDS (600)
	$(Q)sh tests/fuzz/run.sh $(FUZZ_SECONDS)
bench: all functions $(BENCH)  ## compare with the floor, bwrap, runc and crun; BENCH_ROUNDS (60)
	$(Q)sh tests/bench/run.sh
GENERATED := docs/man/fsbox.1 docs/spec.md contrib/completions/fsbox.bash contrib/completions/_fsbox
$(B)/obj/tools/cli_main.o: sandbox/cli/main.c $(B)/.flags
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(C_ALL) -Wno-missing-prototypes -Dmain=fsbox_main -fPIE -MMD -MP -c -o $@ $<
$(B)/tools/gencli: $(B)/obj/tools/gencli.o $(B)/obj/tools/regions.o $(B)/obj/tools/cli_main.o $(filter-out %/main.o,$(call obj,$(CLI_SRC))) $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS)
$(B)/tools/canfilter: $(B)/obj/tools/canfilter.o
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $<
docs: $(B)/tools/gencli $(B)/tools/genprotocol  ## bring manual, documents and completions up to the tables of options and methods
	$(Q)$(B)/tools/gencli $(GENERATED) && $(B)/tools/genprotocol docs/protocol.md
check-docs: $(B)/tools/gencli $(B)/tools/genprotocol
	$(Q)$(B)/tools/gencli --check $(GENERATED) && $(B)/tools/genprotocol --check docs/protocol.md
lint:  ## quick checks: format, layers, banned words, sizes, shell scripts
	$(Q)sh tests/lint/run.sh
format:  ## run clang-format over the sources
	$(Q)find sandbox cgroup netns snapshot tools tests contrib -name '*.[ch]' 2>/dev/null | xargs -r clang-format -i
lint-all:  ## lint, clang-tidy, cppcheck, aarch64
	$(Q)sh tests/lint/run.sh --all
deps:  ## install the Debian packages that are missing
	$(Q)sh tools/deps.sh build runtimes test clients guest bench
criu:  ## fetch or collect a CRIU for snapshots into build/criu
	$(Q)sh tools/criu.sh
demo:  ## build and run the example functions
	$(Q)sh contrib/demo.sh

include tools/install.mk tools/runtimes.mk tools/daemon.mk tools/oci.mk
clean:  ## remove build/
	rm -rf build
help:  ## this list
	@echo 'make TARGET [VARIANT=asan|ubsan|fault|fuzz] [DEV=1] [STD=gnu23] [STATIC=0] [V=1]'
	@awk -F ':.*## ' '/^[a-z-]+[^:=]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  check-SUITE        run one suite: lint fuzz $(SUITES)'

.PHONY: docs check-docs all functions runtime check check-all check-guest kernel-table check-fuzz fuzz-short fuzz bench lint lint-all format deps \
	criu demo install uninstall clean help \
	FORCE programs-fuzz $(foreach s,$(SUITES),programs-$(s) check-$(s))
-include $(shell find $(B)/obj $(B)/examples $(B)/tests -name "*.d" 2>/dev/null)
