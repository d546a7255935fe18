# install and uninstall, included by the Makefile.
D = $(DESTDIR)$(PREFIX)
MAN := $(wildcard docs/man/*.[1-8])
install: all  ## install below DESTDIR and PREFIX (/usr/local)
	install -d $(D)/bin $(D)/libexec/fsbox $(D)/include $(D)/lib/pkgconfig $(D)/share/fsbox/policies
	$(if $(CLI_SRC),install -m 755 $(B)/fsbox $(D)/bin/fsbox)
	[ ! -f $(B)/fsbox-oci ] || install -m 755 $(B)/fsbox-oci $(D)/bin/fsbox-oci
	for p in fsbox-spawn fsboxd; do [ ! -f $(B)/$$p ] || install -m 755 $(B)/$$p $(D)/libexec/fsbox/; done
	for p in init native assist.so api unpack probe.so; do [ ! -f $(B)/runtime/$$p ] || install -m 755 $(B)/runtime/$$p $(D)/libexec/fsbox/; done
	for r in python node; do rm -rf $(D)/libexec/fsbox/$$r; [ ! -d $(B)/runtime/$$r ] || \
		cp -R --preserve=mode,timestamps $(B)/runtime/$$r $(D)/libexec/fsbox/$$r; done
	rm -rf $(D)/libexec/fsbox/criu; [ ! -f build/criu/source ] || cp -R --preserve=mode build/criu $(D)/libexec/fsbox/criu
	install -m 644 sandbox/runtime/fsbox.h $(D)/include/fsbox.h
	$(if $(POLICY_JSON),install -m 644 $(POLICY_JSON) $(D)/share/fsbox/policies/)
	for m in $(MAN); do install -D -m 644 "$$m" "$(D)/share/man/man$${m##*.}/$${m##*/}"; done
	[ ! -f contrib/completions/fsbox.bash ] || install -D -m 644 contrib/completions/fsbox.bash \
		$(D)/share/bash-completion/completions/fsbox
	[ ! -f contrib/completions/_fsbox ] || install -D -m 644 contrib/completions/_fsbox $(D)/share/zsh/site-functions/_fsbox
	printf 'prefix=%s\nincludedir=$${prefix}/include\n\nName: fsbox\nDescription: header of the functions that fsbox runs\n'\
	'Version: %s\nCflags: -I$${includedir}\n' '$(PREFIX)' '$(VERSION)' \
		>$(D)/lib/pkgconfig/fsbox.pc
uninstall:  ## remove what install put there
	rm -rf $(D)/bin/fsbox $(D)/bin/fsbox-oci $(D)/libexec/fsbox $(D)/include/fsbox.h $(D)/lib/pkgconfig/fsbox.pc $(D)/share/fsbox \
		$(foreach m,$(notdir $(MAN)),$(D)/share/man/man$(subst .,,$(suffix $(m)))/$(m)) \
		$(D)/share/bash-completion/completions/fsbox $(D)/share/zsh/site-functions/_fsbox
