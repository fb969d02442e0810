# SPDX-License-Identifier: Apache-2.0
# The group, and names of sensors; 70-kvsd.rules is installed with the agent too.
SYSUSERSDIR ?= /usr/lib/sysusers.d

install-udev:
	$(INSTALL) -D -m 644 udev/71-kvsd-sensors.rules $(DESTDIR)$(UDEVDIR)/71-kvsd-sensors.rules
	$(INSTALL) -D -m 755 udev/kvsd-sensor-name $(DESTDIR)$(UDEVDIR:/rules.d=)/kvsd-sensor-name
	$(INSTALL) -D -m 644 udev/kvsd.sysusers $(DESTDIR)$(SYSUSERSDIR)/kvsd.conf
.PHONY: install-udev
ifneq ($(call has,agent),)
install: install-udev
endif
