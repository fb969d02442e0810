# SPDX-License-Identifier: Apache-2.0
# The service's units, its user, its example and its man page.
UNITDIR ?= /lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d

install-serve:
	$(INSTALL) -d $(DESTDIR)$(UNITDIR)
	sed 's|@BINDIR@|$(BINDIR)|;s|@DOCDIR@|$(PREFIX)/share/doc/kvsd|' kvsd/serve/systemd/kvsd-serve.service.in \
		> $(DESTDIR)$(UNITDIR)/kvsd-serve.service
	$(INSTALL) -m 644 kvsd/serve/systemd/kvsd-serve.socket $(DESTDIR)$(UNITDIR)/kvsd-serve.socket
	$(INSTALL) -D -m 644 kvsd/serve/systemd/kvsd-serve.sysusers $(DESTDIR)$(SYSUSERSDIR)/kvsd-serve.conf
	$(INSTALL) -D -m 644 kvsd/serve/serve.conf.example $(DESTDIR)$(PREFIX)/share/doc/kvsd/serve.conf.example
	$(INSTALL) -D -m 644 kvsd/serve/kvsd-serve.8 $(DESTDIR)$(MANDIR)/man8/kvsd-serve.8
.PHONY: install-serve
ifneq ($(call has,serve),)
install: install-serve
endif
