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
$(B)/runtime/node/.made: $(NODE_SRC) tools/runtimes.mk
	@echo "  JS      $(@D)"
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && cd sandbox/runtime/node && cp --parents $(NODE_SRC:sandbox/runtime/node/%=%) $(abspath $(@D))
	$(Q)touch $@
