# What only fsboxd links, and the tests of its parts (tests/unit/test_daemon_*): SQLite. Included by the Makefile.
DAEMON_LIBS   := sqlite3
comma         := ,
DAEMON_LDLIBS := $(shell pkg-config --libs $(DAEMON_LIBS) 2>/dev/null)
DAEMON_SRC    := $(filter-out $(LIB_SRC) %/main.c,$(wildcard sandbox/daemon/*.c))

$(B)/libdaemon.a: $(call obj,$(DAEMON_SRC))
	@echo "  AR      $@"
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^
$(B)/tests/unit/test_daemon_%: $(B)/obj/tests/unit/test_daemon_%.o $(B)/tests/libtest.a $(B)/libdaemon.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS) $(DAEMON_LDLIBS)

# Memory, time and readings of this one fail or run as it says.
$(B)/tests/unit/test_daemon_stored: private LD_ALL += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc reallocarray \
	strdup clock_gettime timerfd_settime store_from store_open_now deployment_go_on)

# Dynamic: SQLite is not linked in, so that it is the distribution that keeps it up to date.
$(B)/fsboxd: $(B)/obj/sandbox/daemon/main.o $(B)/libdaemon.a $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)$(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS) $(DAEMON_LDLIBS)

# The interface's text for docs/protocol.md: of the table alone.
$(B)/tools/genprotocol: $(call obj,tools/genprotocol.c tools/regions.c sandbox/daemon/methods.c) $(B)/libfsbox.a
	@echo "  LD      $@"
	$(Q)mkdir -p $(@D) && $(CC) -pie $(LD_ALL) -o $@ $^ $(LIB_LDLIBS)

# What tests preload into fsboxd.
$(B)/tests/shim/%.so: tests/lib/shim/%.c $(B)/.flags
	@echo "  SO      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(filter-out $(SAN),$(C_ALL)) $(if $(DEV),-Werror) -fPIC -shared -o $@ $< -ldl
programs-system: $(B)/tests/shim/faults.so $(B)/tests/shim/syscalls.so

SOAK_CYCLES  ?= 10000
SOAK_SECONDS ?= 600
soak:  ## fsboxd for a quarter of an hour: SOAK_CYCLES (10000) of deploy, invoke, undeploy, then SOAK_SECONDS (600) of everything at once
	$(Q)FSBOX_CYCLES=$(SOAK_CYCLES) FSBOX_MIX_SECONDS=$(SOAK_SECONDS) sh tests/run.sh system/daemon_cycles
	$(Q)grep -E '^# (cycles|mix)' build/test-logs/system.daemon_cycles.log
.PHONY: soak
