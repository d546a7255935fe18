# The interpreted runtimes, included by the Makefile: copied to where the built ones are. Python's have bytecode beside them for the python3 of this machine, which is taken as it is,
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
