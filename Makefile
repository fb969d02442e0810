# SPDX-License-Identifier: Apache-2.0
#
# kvsd: open, self-hosted Kinesis Video Streams, from the sensor to the viewer
#
#   make              build everything into build/
#   make demo         camera -> V4L2 -> encoder -> PutMedia -> clip, end to end
#   make test         every test; installs what it needs (the README's command)
#   make check        unit tests only: under 60 s, unprivileged
#   make check-san    unit tests under SAN=address,undefined (or SAN=thread)
#   make check-fault  fault sweeps: fail the n-th system call, for every n
#   make soak         the full counts of the tests that `make test` shortens
#   make fuzz         run the fuzz targets for FUZZ_SECONDS each (clang)
#   make bench        figures as JSON lines: ours, the peer's, the ratio
#   make lint         layers, headers, banned calls, clang-tidy, cppcheck: what
#                     changed since it was found clean; all of it in a minute
#                     (tools/dev/lint --deep: clang's analyzer without bounds)
#   make format       rewrite the sources with clang-format
#   make man          man pages of the libraries, from their headers
#   make kmod         tsalign.ko; KDIR= kernel build folder, KMAKE="W=1 C=1"
#   make kmod-install into that kernel's modules
#   make kunit        the KUnit suite of tsalign's core, in a guest
#   make dtbs         device tree overlays; make dt-check: against the binding
#   make install      into $(DESTDIR)$(PREFIX)
#   make clean        remove build/
#   make help         this text
#
# Variables: O=build PREFIX=/usr/local DESTDIR= CC= CROSS_COMPILE=
#   CFLAGS= CPPFLAGS= LDFLAGS= LDLIBS=   yours, come last
#   WERROR=1       warnings are errors
#   SAN=address,undefined | thread       sanitizers; use an O= of its own
#   PARTS="..."    what to build (default: all that the libraries allow):
#                  capture producer agent serve tools tests
#   ALSA=0, IIO=0  leave audio capture (libasound), industrial I/O (libiio) out
#   OPENH264=0     leave the software H.264 encoder out
#   TURBOJPEG=0    leave the software JPEG encoder out
#   AVCODEC=0      leave libavcodec's encoders (FFV1, AAC) out
#   LIBCAMERA=0    leave the module for libcamera's cameras out
#   IPSEC_MB=0     leave Intel's AES-GCM for x86 out

MAKEFLAGS += -rR --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

O ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
UDEVDIR ?= /lib/udev/rules.d
INSTALL ?= install

ifneq ($(filter-out undefined default,$(origin CC)),)
else
CC := $(CROSS_COMPILE)gcc
endif
ifneq ($(filter-out undefined default,$(origin AR)),)
else
AR := $(CROSS_COMPILE)ar
endif
ifneq ($(filter-out undefined default,$(origin CXX)),)
else
CXX := $(CROSS_COMPILE)g++
endif
PKG_CONFIG ?= $(if $(CROSS_COMPILE),$(CROSS_COMPILE:-=)-)pkg-config

all:
.PHONY: all

# Goals that compile nothing do not ask for libraries.
quiet_goals := help clean demo test soak deps dtbs dt-check kmod kunit
goals := $(or $(MAKECMDGOALS),all)
building := $(filter-out $(quiet_goals),$(goals))

# --- flags -------------------------------------------------------------------
warn := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla \
	-Wimplicit-fallthrough -Wformat=2 -Wundef
ifeq ($(WERROR),1)
warn += -Werror
endif
ifneq ($(SAN),)
san := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
ours_cpp := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Ilibcapture -Ilibcapture/include -Ikvsd \
	-Ikvsd/include
ours_c := -std=c17 -O2 -g -fPIC -fvisibility=hidden -pthread -fno-strict-aliasing \
	-fstack-protector-strong $(warn) $(san)
# For the one module that is in C++. (There a function hides a struct of its name: no -Wshadow.)
ours_cxx := -std=c++17 $(filter-out -std=% -Wstrict-prototypes -Wmissing-prototypes -Wshadow,$(ours_c))
ours_ld := -pthread $(san) -Wl,--as-needed -Wl,-z,relro,-z,now

# --- what to build -----------------------------------------------------------
PARTS ?= capture producer agent serve tools tests
has = $(filter $(1),$(PARTS))

ifneq ($(building),)
pkg_ok = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo 1)
need = $(if $(call pkg_ok,$(1)),,$(error package $(1) was not found by \
	$(PKG_CONFIG); on Debian: sh tools/dev/deps build))
OPENH264 ?= $(or $(call pkg_ok,openh264),0)
TURBOJPEG ?= $(or $(call pkg_ok,libturbojpeg),0)
AVCODEC ?= $(or $(call pkg_ok,libavcodec libavutil),0)
ours_cpp += -DHAVE_OPENH264=$(OPENH264) -DHAVE_TURBOJPEG=$(TURBOJPEG) -DHAVE_AVCODEC=$(AVCODEC)
packages_capture := $(if $(filter 1,$(OPENH264)),openh264) \
	$(if $(filter 1,$(TURBOJPEG)),libturbojpeg)
# Loaded when it is first used (src/avcodec.c); tests decode with it.
libs_avcodec := $(if $(filter 1,$(AVCODEC)),$(shell $(PKG_CONFIG) --libs libavcodec libavutil))
libs_capture := $(if $(strip $(packages_capture)),$(shell $(PKG_CONFIG) --libs $(packages_capture)))
LIBCAMERA ?= $(if $(shell command -v $(CXX)),$(or $(call pkg_ok,libcamera),0),0)
ifeq ($(LIBCAMERA),1)
cpp_libcamera := $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags libcamera))
libs_libcamera := $(shell $(PKG_CONFIG) --libs libcamera)
endif
# What `make` says of them at its end.
switches := OPENH264 TURBOJPEG AVCODEC LIBCAMERA
ifneq ($(call has,producer agent serve),)
$(call need,liburing libssl libcrypto)
libs_io := $(shell $(PKG_CONFIG) --libs liburing libssl libcrypto)
endif
# Sources of other kinds.
ALSA ?= $(or $(call pkg_ok,alsa),0)
IIO ?= $(or $(call pkg_ok,libiio),0)
ours_cpp += -DHAVE_ALSA=$(ALSA) -DHAVE_IIO=$(IIO)
libs_capture += $(if $(filter 1,$(ALSA)),$(shell $(PKG_CONFIG) --libs alsa)) \
	$(if $(filter 1,$(IIO)),$(shell $(PKG_CONFIG) --libs libiio))
switches += ALSA IIO
ifneq ($(call has,agent serve),)
ifeq ($(call pkg_ok,inih),)
$(call need,INIReader)
endif
libs_config := -linih
endif
ifneq ($(call has,agent serve tools),)
$(call need,jansson)
libs_json := $(shell $(PKG_CONFIG) --libs jansson)
endif
ifneq ($(call has,serve),)
$(call need,sqlite3)
libs_store := $(shell $(PKG_CONFIG) --libs sqlite3)
# Its header alone: it is loaded when it is used (io/crypto_ipsec_mb.c). x86 only, and a cross
# compiler may find this machine's.
ifeq ($(origin IPSEC_MB),undefined)
IPSEC_MB := $(if $(filter x86_64-%,$(shell $(CC) -dumpmachine)),$(if $(shell $(CC) $(CPPFLAGS) \
	-include intel-ipsec-mb.h -E -xc /dev/null 2>/dev/null),1,0),0)
endif
ours_cpp += -DHAVE_IPSEC_MB=$(IPSEC_MB)
switches += IPSEC_MB
endif
endif

include libcapture/build.mk
include kvsd/build.mk
include tools/build.mk
include tests/build.mk
-include kmod/build.mk dts/build.mk udev/build.mk kvsd/serve/systemd/build.mk

# --- rules -------------------------------------------------------------------
obj = $(patsubst %.cpp,$(O)/obj/%.o,$(patsubst %.c,$(O)/obj/%.o,$(1)))

# Objects depend on this file, which changes only when the command line does.
flags_now := $(CC) $(if $(filter 1,$(LIBCAMERA)),$(CXX) $(CXXFLAGS)) $(ours_cpp) $(CPPFLAGS) $(ours_c) $(CFLAGS) $(ours_ld) $(LDFLAGS) \
	$(filter agent serve,$(PARTS))
ifneq ($(building),)
$(shell mkdir -p $(O); printf '%s\n' '$(flags_now)' | cmp -s - $(O)/flags || \
	printf '%s\n' '$(flags_now)' > $(O)/flags)
endif

$(O)/obj/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(ours_cpp) $(CPPFLAGS) $(ours_c) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/obj/%.o: %.cpp $(O)/flags
	@mkdir -p $(@D)
	@echo "  CXX     $<"
	@$(CXX) $(ours_cpp) $(CPPFLAGS) $(ours_cxx) $(CXXFLAGS) -MMD -MP -c -o $@ $<

# $(call archive,NAME,SOURCES)
define archive
$(O)/lib$(1).a: $$(call obj,$(2))
	@echo "  AR      $$@"
	@rm -f $$@ && $(AR) rcs $$@ $$^
endef
# $(call program,PATH,SOURCES,ARCHIVES,LIBS): archives in link order
define program
$(O)/$(1): $$(call obj,$(2)) $(patsubst %,$(O)/lib%.a,$(3))
	@mkdir -p $$(@D)
	@echo "  LINK    $$@"
	@$(CC) $$(ours_ld) $(LDFLAGS) -o $$@ $$(call obj,$(2)) \
		-Wl,--start-group $(patsubst %,$(O)/lib%.a,$(3)) -Wl,--end-group $(4) $(LDLIBS)
endef
# $(call shared,NAME,MAJOR.MINOR,SOURCES,ARCHIVES,LIBS,SYMBOL_VERSIONS)
define shared
$(O)/lib$(1).so.$(2): $$(call obj,$(3)) $(patsubst %,$(O)/lib%.a,$(4)) $(6)
	@echo "  LINK    $$@"
	@$(CC) -shared $(ours_ld) $(LDFLAGS) -Wl,-soname,lib$(1).so.$(firstword $(subst ., ,$(2))) \
		-Wl,-z,defs -Wl,--exclude-libs,ALL -Wl,--version-script=$(6) -o $$@ $$(call obj,$(3)) \
		-Wl,--start-group $(patsubst %,$(O)/lib%.a,$(4)) -Wl,--end-group $(5) $(LDLIBS)
endef

$(eval $(call archive,base,$(base_src)))
$(eval $(call archive,capture,$(capture_src)))
$(eval $(call archive,proto,$(proto_src)))
$(eval $(call archive,core,$(core_src)))
$(eval $(call archive,io,$(io_src)))
$(eval $(call archive,kvsproducer,$(producer_src)))
$(eval $(call archive,store,$(store_src)))
$(eval $(call archive,agent,$(agent_src)))
$(eval $(call archive,serve,$(serve_src)))
$(eval $(call archive,kvsctl,$(kvsctl_lib_src)))
$(eval $(call archive,support,$(support_src)))

ifneq ($(call has,capture),)
all: $(O)/libcapture.a $(O)/libcapture.so.$(capture_version)
$(eval $(call shared,capture,$(capture_version),$(capture_src),base,$(libs_capture),libcapture/libcapture.map))
endif
# Modules are found by where they are installed.
ifneq ($(building),)
$(shell printf '%s\n' '$(LIBDIR)' | cmp -s - $(O)/libdir || printf '%s\n' '$(LIBDIR)' > $(O)/libdir)
endif
$(O)/obj/libcapture/src/source_module.o: $(O)/libdir
$(O)/obj/libcapture/src/source_module.o: ours_cpp += -DCAPTURE_MODULE_DIR='"$(LIBDIR)/libcapture"'
module_libcamera := $(if $(call has,capture),$(if $(filter 1,$(LIBCAMERA)),$(O)/libcapture-libcamera.so))
ifneq ($(module_libcamera),)
all: $(module_libcamera)
$(call obj,$(module_libcamera_src)): ours_cpp += $(cpp_libcamera)
$(module_libcamera): $(call obj,$(module_libcamera_src)) $(O)/obj/libcapture/src/pixfmt.o $(O)/libbase.a \
		libcapture/src/libcamera.map
	@echo "  LINK    $@"
	@$(CXX) -shared $(ours_ld) $(LDFLAGS) -Wl,-z,defs -Wl,--exclude-libs,ALL \
		-Wl,--version-script=libcapture/src/libcamera.map -o $@ $(filter %.o %.a,$^) $(libs_libcamera) $(LDLIBS)
endif
ifneq ($(call has,producer),)
all: $(O)/libkvsproducer.a $(O)/libkvsproducer.so.$(producer_version)
$(eval $(call shared,kvsproducer,$(producer_version),$(producer_src),core io proto base,$(libs_io),kvsd/libkvsproducer.map))
endif

# Which optional libraries went in, so that none is left out unseen.
parts:
	@echo "  PARTS   $(PARTS); $(foreach s,$(switches),$(s)=$($(s)))"
.PHONY: parts
all: parts

# Installed archives stand alone: everything under the public face is in them.
$(O)/static/libcapture.a: $(call obj,$(capture_src) $(base_src))
	@mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^
$(O)/static/libkvsproducer.a: $(call obj,$(producer_src) $(io_src) $(core_src) $(proto_src) $(base_src))
	@mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

# `kvsd` has the roles that are built in; asked for another, it says so.
roles := $(call has,agent) $(call has,serve)
ifneq ($(strip $(roles)),)
all: $(O)/kvsd
$(O)/obj/kvsd/main.o: ours_cpp += $(if $(filter agent,$(roles)),-DWITH_AGENT=1,-DWITH_AGENT=0) \
	$(if $(filter serve,$(roles)),-DWITH_SERVE=1,-DWITH_SERVE=0)
$(eval $(call program,kvsd,kvsd/main.c,$(roles) $(if $(filter serve,$(roles)),store) \
	$(if $(filter agent,$(roles)),kvsproducer capture) io core proto base,\
	$(libs_io) $(libs_config) $(libs_json) $(if $(filter serve,$(roles)),$(libs_store)) \
	$(if $(filter agent,$(roles)),$(libs_capture))))
endif
ifneq ($(call has,tools),)
all: $(O)/kvsctl
$(eval $(call program,kvsctl,$(kvsctl_src),kvsctl kvsproducer capture io core proto base,\
	$(libs_io) $(libs_json) $(libs_capture)))
endif

test_archives := support kvsctl serve store agent kvsproducer capture io core proto base
test_libs := $(libs_io) $(libs_config) $(libs_json) $(libs_store) $(libs_capture) $(libs_avcodec) -lcmocka
ifneq ($(call has,tests),)
$(foreach t,$(unit_tests),$(eval $(call program,tests/$(t),tests/unit/$(t).c,$(test_archives),$(test_libs))))
$(foreach t,$(fault_tests),$(eval $(call program,tests/$(t),tests/fault/$(t).c,$(test_archives),$(test_libs))))
$(foreach t,$(sim_tests),$(eval $(call program,tests/$(t),tests/sim/$(t).c,$(test_archives),$(test_libs))))
$(foreach t,$(fuzz_targets),$(eval $(call program,tests/$(t),tests/fuzz/$(t).c tests/fuzz/replay_main.c,$(test_archives),$(test_libs))))
$(foreach t,$(test_programs),$(eval $(call program,tests/$(t),$($(t)_src),$(test_archives),$(test_libs))))
endif
$(foreach t,$(bench_programs),$(eval $(call program,bench/$(t),$($(t)_src),$($(t)_archives),$(libs_io) $(libs_store) $(libs_capture))))
tests-build: $(patsubst %,$(O)/tests/%,$(unit_tests) $(fault_tests) $(sim_tests) $(fuzz_targets) $(test_programs))
.PHONY: tests-build

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)

# --- goals -------------------------------------------------------------------
help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

deps:
	@sh tools/dev/deps build test

# The longest first, as they run beside each other.
check: tests-build
	@tests/run-check $(O) $(sim_tests) $(unit_tests) -- $(fuzz_targets)

check-fault: tests-build
	@tests/run-check $(O) $(fault_tests) --

check-san:
	@$(MAKE) O=$(O)-$(subst $(comma),-,$(or $(SAN),address,undefined)) \
		SAN=$(or $(SAN),address,undefined) check
comma := ,

test:
	@tests/run-all short
soak:
	@tests/run-all soak
demo:
	@sh tools/dev/demo $(O)
bench: all bench-build
	@tools/bench/run $(O)
bench-build: $(patsubst %,$(O)/bench/%,$(bench_programs))
.PHONY: bench-build
lint:
	@tools/dev/lint
format:
	@clang-format -i $$(git ls-files '*.c' '*.h')
fuzz:
	@tools/dev/fuzz-all $(or $(FUZZ_SECONDS),60)
# For tools/dev/fuzz-all, which sets CC=clang and SAN.
fuzz-objects: $(patsubst %,$(O)/fuzz/%,$(fuzz_targets))
$(O)/fuzz/%: $(O)/obj/tests/fuzz/%.o $(patsubst %,$(O)/lib%.a,$(test_archives))
	@mkdir -p $(@D)
	@$(CC) $(ours_ld) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< \
		-Wl,--start-group $(patsubst %,$(O)/lib%.a,$(test_archives)) -Wl,--end-group $(test_libs) $(LDLIBS)
print-fuzz-targets:
	@echo $(fuzz_targets)
.PHONY: fuzz-objects print-fuzz-targets
clean:
	@rm -rf $(O)
.PHONY: help deps check check-fault check-san test soak demo bench lint format fuzz clean install man

# Man pages are made from the public headers; without python3 they are left out.
python3 := $(if $(filter install man,$(goals)),$(shell command -v python3))
man_headers := $(if $(call has,capture),$(wildcard libcapture/include/capture/*.h)) \
	$(if $(call has,producer),$(wildcard kvsd/include/kvs/*.h))
$(O)/man/done: tools/dev/man $(man_headers)
	@echo "  MAN     $(@D)"
	@rm -rf $(@D)
	@$(python3) tools/dev/man $(@D) $(capture_version) $(man_headers)
	@touch $@
man: $(if $(python3),$(O)/man/done)

install: all man $(if $(call has,capture),$(O)/static/libcapture.a) \
	$(if $(call has,producer),$(O)/static/libkvsproducer.a)
ifneq ($(call has,capture),)
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/capture
	$(INSTALL) -m 644 $(O)/static/libcapture.a $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 755 $(O)/libcapture.so.$(capture_version) $(DESTDIR)$(LIBDIR)
	ln -sf libcapture.so.$(capture_version) $(DESTDIR)$(LIBDIR)/libcapture.so.$(capture_major)
	ln -sf libcapture.so.$(capture_major) $(DESTDIR)$(LIBDIR)/libcapture.so
	$(INSTALL) -m 644 libcapture/include/capture/*.h $(DESTDIR)$(INCLUDEDIR)/capture
	sed 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(capture_version)|' \
		libcapture/libcapture.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libcapture.pc
	$(if $(module_libcamera),$(INSTALL) -D -m 755 $(module_libcamera) $(DESTDIR)$(LIBDIR)/libcapture/libcapture-libcamera.so)
endif
ifneq ($(call has,producer),)
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/kvs
	$(INSTALL) -m 644 $(O)/static/libkvsproducer.a $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 755 $(O)/libkvsproducer.so.$(producer_version) $(DESTDIR)$(LIBDIR)
	ln -sf libkvsproducer.so.$(producer_version) $(DESTDIR)$(LIBDIR)/libkvsproducer.so.$(producer_major)
	ln -sf libkvsproducer.so.$(producer_major) $(DESTDIR)$(LIBDIR)/libkvsproducer.so
	$(INSTALL) -m 644 kvsd/include/kvs/*.h $(DESTDIR)$(INCLUDEDIR)/kvs
	sed 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(producer_version)|' \
		kvsd/libkvsproducer.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libkvsproducer.pc
endif
ifneq ($(call has,capture),)
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/share/doc/kvsd/examples
	$(INSTALL) -m 644 libcapture/examples/grab_dmabuf.c \
		$(if $(call has,producer),libcapture/examples/record_pair.c) $(DESTDIR)$(PREFIX)/share/doc/kvsd/examples
endif
ifneq ($(python3),)
	$(INSTALL) -d $(DESTDIR)$(MANDIR)/man3
	$(INSTALL) -m 644 $(O)/man/*.3 $(DESTDIR)$(MANDIR)/man3
else
	@echo "  no python3: installed without man pages"
endif
ifneq ($(strip $(roles)),)
	$(INSTALL) -D -m 755 $(O)/kvsd $(DESTDIR)$(BINDIR)/kvsd
endif
ifneq ($(call has,tools),)
	$(INSTALL) -D -m 755 $(O)/kvsctl $(DESTDIR)$(BINDIR)/kvsctl
endif
ifneq ($(call has,agent),)
	$(INSTALL) -D -m 644 kvsd/agent/agent.conf.example $(DESTDIR)$(PREFIX)/share/doc/kvsd/agent.conf.example
	$(INSTALL) -D -m 644 udev/70-kvsd.rules $(DESTDIR)$(UDEVDIR)/70-kvsd.rules
endif
