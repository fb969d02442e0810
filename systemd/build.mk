# SPDX-License-Identifier: Apache-2.0
# Units of the service; the user is made by udev/kvsd.sysusers.
UNITDIR ?= /lib/systemd/system

install-systemd:
	$(INSTALL) -d $(DESTDIR)$(UNITDIR)
	sed 's|@BINDIR@|$(BINDIR)|;s|@DOCDIR@|$(PREFIX)/share/doc/kvsd|' systemd/kvsd-serve.service.in \
		> $(DESTDIR)$(UNITDIR)/kvsd-serve.service
	$(INSTALL) -m 644 systemd/kvsd-serve.socket $(DESTDIR)$(UNITDIR)/kvsd-serve.socket
	$(INSTALL) -D -m 644 kvsd/serve/serve.conf.example $(DESTDIR)$(PREFIX)/share/doc/kvsd/serve.conf.example
.PHONY: install-systemd
ifneq ($(call has,serve),)
install: install-systemd install-sysusers
endif
