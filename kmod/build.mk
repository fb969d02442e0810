# SPDX-License-Identifier: GPL-2.0-only
# tsalign.ko. The tree is copied below $(O), so that it may be read-only.
#	KDIR=	the kernel's build folder; default: the running kernel's
#	KMAKE=	more for its make: CROSS_COMPILE=..., W=1, C=1
kmod_release = $(shell uname -r)
KDIR ?= /lib/modules/$(kmod_release)/build
kmod_out := $(abspath $(O))/kmod
# User-Mode Linux is an architecture of its own, which the folder does not say by itself.
kmod_arch = $(if $(shell grep -s '^CONFIG_UML=y' $(KDIR)/.config),ARCH=um)
# Kbuild has its own meaning of O=, and needs make's own rules.
kmod_make = env -u MAKEFLAGS -u MFLAGS -u O $(MAKE) -j$(shell nproc) -C $(KDIR) M=$(1) $(kmod_arch) CONFIG_DEBUG_INFO_BTF_MODULES= $(KMAKE)

.PHONY: kmod kmod-install kunit kmod-kdir

kmod-kdir:
	@test -e $(KDIR)/Makefile || { \
		echo "$(KDIR): no kernel build folder; on Debian: apt install linux-headers-$(kmod_release)," \
			"or KDIR=\$$(tests/hil/guest kdir uml) for the guest's" >&2; exit 1; }

kmod: kmod-kdir
	@mkdir -p $(kmod_out)/tsalign
	@cp -Ru kmod/. $(kmod_out)/tsalign
	$(call kmod_make,$(kmod_out)/tsalign) modules

kmod-install: kmod
	$(call kmod_make,$(kmod_out)/tsalign) modules_install

# In a guest, whose kernel has KUnit.
kunit:
	O=$(O) CASES=kunit sh tests/hil/test_tsalign.sh
