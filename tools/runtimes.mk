# The runtimes beside native and init; included by the Makefile.

# The same help for interpreters, which load it.
$(B)/runtime/assist.so: $(wildcard sandbox/runtime/assist/*.c sandbox/runtime/assist/*.h) sandbox/runtime/channel.h tools/runtimes.mk $(B)/.flags
	@echo "  SO      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(NATIVE_ALL) $(if $(DEV),-Werror) -fPIC -shared $(filter-out $(SAN),$(LD_ALL)) -o $@ \
		$(wildcard sandbox/runtime/assist/*.c) -ldl
# The Runtime API's server has no library of its cell's root to rely on.
$(B)/runtime/api: $(API_SRC) $(wildcard sandbox/runtime/*.h sandbox/runtime/api/*.h) tools/runtimes.mk $(B)/.flags
	@echo "  CC      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(NATIVE_ALL) $(if $(DEV),-Werror) -fPIE -static-pie $(filter-out $(SAN),$(LD_ALL)) \
		-o $@ $(API_SRC)

# The interpreted runtimes are copied to where the built ones are. Python's have bytecode beside them for the python3 of this
# machine, which is taken as it is,
# for in a cell nothing can be written there; another one compiles what it needs at each start.
$(B)/runtime/python/.made: $(PYTHON_SRC) tools/runtimes.mk
	@echo "  PY      $(@D)"
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && cd sandbox/runtime/python && cp --parents $(PYTHON_SRC:sandbox/runtime/python/%=%) $(abspath $(@D))
	$(Q)[ ! -x /usr/bin/python3 ] || /usr/bin/python3 -c 'import py_compile, sys; \
		[py_compile.compile(f, dfile=f[len(sys.argv[1]) + 1:], doraise=True, \
		invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH) for f in sys.argv[2:]]' \
		$(@D) $(@D)/*.py $(@D)/_fsbox/*.py
	$(Q)touch $@
# One file of all modules, and the packages that functions can ask for.
NODE_PARTS := $(filter sandbox/runtime/node/%.cjs,$(filter-out %/main.cjs,$(NODE_SRC))) sandbox/runtime/node/main.cjs
$(B)/runtime/node/.made: $(NODE_SRC) tools/bundle.awk tools/runtimes.mk
	@echo "  JS      $(@D)"
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && cp -R sandbox/runtime/node/node_modules $(@D)/
	$(Q)awk -f tools/bundle.awk $(NODE_PARTS) >$(@D)/main.cjs.new && mv $(@D)/main.cjs.new $(@D)/main.cjs
	$(Q)touch $@
# No runtime, but a program beside them: packages are unpacked by it (sandbox/package).
$(B)/runtime/unpack: $(wildcard sandbox/unpack/*.c) tools/runtimes.mk $(B)/.flags
	@echo "  CC      $@"
	$(Q)mkdir -p $(@D) && $(CC) $(CPP_ALL) $(NATIVE_ALL) $(if $(DEV),-Werror) -fPIE -pie $(filter-out $(SAN),$(LD_ALL)) -o $@ \
		$(filter %.c,$^) $(shell pkg-config --cflags --libs libarchive 2>/dev/null)
