# fsbox-oci, the OCI runtime, its voice to systemd, and the library of its parts for tests (tests/unit/test_oci_*). Included by the Makefile.
OCI_SRC := $(wildcard sandbox/oci/*.c)
comma := ,

$(B)/liboci.a: $(call obj,$(filter-out %/main.c,$(OCI_SRC)))
	@echo "  AR      $@"
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^
$(B)/tests/unit/test_oci_%: $(B)/obj/tests/unit/test_oci_%.o $(B)/tests/libtest.a $(B)/liboci.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS)
$(B)/tests/fuzz/fuzz_oci_%: $(B)/obj/tests/fuzz/fuzz_oci_%.o $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/tests/fuzz/replay.o) $(B)/liboci.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer) -o $@ $^ $(LIB_LDLIBS)
# What runs before the C library (early.c) has no thread pointer for the stack protector, and must not become a call of libc's.
# A sanitizer would want its runtime, and a dynamic program has its loader before it: they do without.
$(B)/obj/sandbox/oci/early.o: C_ALL += -ffreestanding -fno-stack-protector $(if $(IS_CLANG),,-fno-tree-loop-distribute-patterns)
OCI_ENTRY := $(if $(SAN),,$(if $(LINK_STATIC),-Wl$(comma)-e$(comma)oci_entry -Wl$(comma)-u$(comma)oci_entry))
# Static, as fsbox: no loader runs before it, and what a container could get hold of is one file.
$(B)/fsbox-oci: $(B)/obj/sandbox/oci/main.o $(B)/liboci.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)$(CC) $(if $(LINK_STATIC),-static-pie,-pie) $(LD_ALL) $(OCI_ENTRY) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIB_LDLIBS) 2>$@.log || { cat $@.log >&2; exit 1; }
	$(Q)sed '/in function/{N;/in statically linked applications/d}' $@.log >&2
# Dynamic: Debian has no static libsystemd, and fsbox-oci starts it only when systemd's cgroup driver is asked for.
# Where there is no libsystemd the Makefile leaves it out, and fsbox-oci says so.
$(B)/fsbox-scope: $(call obj,$(wildcard sandbox/scope/*.c)) $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)$(CC) -pie $(LD_ALL) -o $@ $^ $(shell pkg-config --libs libsystemd)
