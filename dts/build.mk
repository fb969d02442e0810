# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Device tree overlays, one a board: `make dtbs`. `make dt-check` needs dt-schema.
DTC ?= dtc
OVERLAYDIR ?= $(PREFIX)/share/kvsd/overlays
dt_overlays := imx8mp qemu-virt rk3588 rpi4 rpi5
dt_blobs := $(patsubst %,$(O)/dts/kvsd-tsalign-%.dtbo,$(dt_overlays))

dtbs: $(dt_blobs)
$(O)/dts/%.dtbo: dts/overlays/%.dtso
	@mkdir -p $(@D)
	@echo "  DTC     $@"
	@$(DTC) -@ -I dts -O dtb -o $@ $<

dt-check: dtbs
	@tests/dts/dt_check.sh $(O)/dts/check

install-dtbs: dtbs
	$(INSTALL) -d $(DESTDIR)$(OVERLAYDIR)
	$(INSTALL) -m 644 $(dt_blobs) $(DESTDIR)$(OVERLAYDIR)
.PHONY: dtbs dt-check install-dtbs
