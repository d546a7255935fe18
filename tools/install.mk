# install and uninstall, included by the Makefile.
D = $(DESTDIR)$(PREFIX)
MAN := $(wildcard docs/man/*.[1-8])
SCHEDULERS := $(wildcard contrib/schedulers/*)
UNITS := $(wildcard contrib/systemd/system/* contrib/systemd/user/*)
install: all  ## install below DESTDIR and PREFIX (/usr/local)
	install -d $(D)/bin $(D)/libexec/fsbox $(D)/include $(D)/lib/pkgconfig $(D)/share/fsbox/policies
	$(if $(CLI_SRC),install -m 755 $(B)/fsbox $(D)/bin/fsbox)
	[ ! -f $(B)/fsbox-oci ] || install -m 755 $(B)/fsbox-oci $(D)/bin/fsbox-oci
	for p in fsbox-spawn fsbox-publish fsboxd fsbox-scope; do [ ! -f $(B)/$$p ] || install -m 755 $(B)/$$p $(D)/libexec/fsbox/; done
	for p in init enter native assist.so api unpack probe.so; do [ ! -f $(B)/runtime/$$p ] || install -m 755 $(B)/runtime/$$p $(D)/libexec/fsbox/; done
	for r in python node; do rm -rf $(D)/libexec/fsbox/$$r; [ ! -d $(B)/runtime/$$r ] || \
		cp -R --preserve=mode,timestamps $(B)/runtime/$$r $(D)/libexec/fsbox/$$r; done
	rm -rf $(D)/libexec/fsbox/criu; [ ! -f build/criu/source ] || cp -R --preserve=mode build/criu $(D)/libexec/fsbox/criu
	install -m 644 sandbox/runtime/fsbox.h $(D)/include/fsbox.h
	$(if $(POLICY_JSON),install -m 644 $(POLICY_JSON) $(D)/share/fsbox/policies/)
	for m in $(MAN); do install -D -m 644 "$$m" "$(D)/share/man/man$${m##*.}/$${m##*/}"; done
	[ ! -f contrib/completions/fsbox.bash ] || install -D -m 644 contrib/completions/fsbox.bash \
		$(D)/share/bash-completion/completions/fsbox
	[ ! -f contrib/completions/_fsbox ] || install -D -m 644 contrib/completions/_fsbox $(D)/share/zsh/site-functions/_fsbox
	for u in $(UNITS); do install -d "$(D)/lib/systemd/$$(basename "$${u%/*}")"; sed 's|/usr/local/|$(PREFIX)/|g' "$$u" \
		>"$(D)/lib/$${u#contrib/}" && chmod 644 "$(D)/lib/$${u#contrib/}"; done
	install -D -m 644 contrib/systemd/sysusers.d/fsbox.conf $(D)/lib/sysusers.d/fsbox.conf
	install -D -m 644 contrib/daemon/policy.json $(D)/share/doc/fsbox/policy.json
	for s in $(SCHEDULERS); do install -D -m $$([ -x "$$s" ] && echo 755 || echo 644) "$$s" "$(D)/share/doc/fsbox/schedulers/$${s##*/}"; done
	printf 'prefix=%s\nincludedir=$${prefix}/include\n\nName: fsbox\nDescription: header of the functions that fsbox runs\n'\
	'Version: %s\nCflags: -I$${includedir}\n' '$(PREFIX)' '$(VERSION)' \
		>$(D)/lib/pkgconfig/fsbox.pc && chmod 644 $(D)/lib/pkgconfig/fsbox.pc
uninstall:  ## remove what install put there
	rm -rf $(D)/bin/fsbox $(D)/bin/fsbox-oci $(D)/libexec/fsbox $(D)/include/fsbox.h $(D)/lib/pkgconfig/fsbox.pc $(D)/share/fsbox \
		$(foreach m,$(notdir $(MAN)),$(D)/share/man/man$(subst .,,$(suffix $(m)))/$(m)) \
		$(patsubst contrib/%,$(D)/lib/%,$(UNITS)) $(D)/lib/sysusers.d/fsbox.conf $(D)/share/doc/fsbox \
		$(D)/share/bash-completion/completions/fsbox $(D)/share/zsh/site-functions/_fsbox
