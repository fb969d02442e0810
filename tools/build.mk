# SPDX-License-Identifier: Apache-2.0
kvsctl_src := $(addprefix tools/kvsctl/, \
	main.c help.c service.c output.c sink.c tracks.c \
	streams.c playback.c put.c get.c fragments.c clip.c export.c hash.c devices.c)
kvsctl_src += $(addprefix tools/kvsctl/, \
	doctor.c doctor_advice.c doctor_controls.c doctor_kernel.c doctor_record.c \
	doctor_sensors.c doctor_stream.c doctor_system.c doctor_text.c)
kvsctl_src += $(addprefix tools/kvsctl/, feed.c sync.c sync_capture.c sync_pages.c)

# The pure parts, which have unit tests.
kvsctl_lib_src := $(addprefix tools/kvsctl/, args.c settings.c text.c)
kvsctl_lib_src += $(addprefix tools/kvsctl/, doctor_names.c doctor_stamps.c tar.c)
kvsctl_lib_src += $(addprefix tools/kvsctl/, sync_plot.c sync_sensors.c sync_series.c)

# tools/bench: programs that `make bench` measures, or measures with
bench_programs := bench_framing bench_load bench_capture bench_publishers bench_readers bench_sink
bench_programs += bench_tsalign bench_parts bench_rtmp
bench_rtmp_archives := io core proto base
bench_rtmp_src := tools/bench/rtmp.c tools/bench/session.c tools/bench/media.c
bench_parts_archives := store io core proto base
bench_parts_src := tools/bench/parts.c tools/bench/session.c
bench_framing_archives := io core proto base
bench_load_archives := $(bench_framing_archives)
bench_capture_archives := kvsproducer capture core io proto base
bench_framing_src := tools/bench/framing.c tools/bench/mp4_table.c
bench_load_src := tools/bench/load.c tools/bench/session.c tools/bench/media.c
bench_publishers_archives := $(bench_framing_archives)
bench_publishers_src := tools/bench/publishers.c tools/bench/session.c tools/bench/media.c
bench_readers_archives := $(bench_framing_archives)
bench_readers_src := tools/bench/readers.c tools/bench/session.c tools/bench/media.c
bench_sink_archives := $(bench_framing_archives)
bench_sink_src := tools/bench/sink.c
# What tsalign's maps cost, and that none is torn; in a guest
bench_tsalign_src := tests/hil/tsalign_bench.c
$(O)/obj/tests/hil/tsalign_bench.o: ours_cpp += -isystem kmod/include/uapi
bench_capture_src := tools/bench/capture.c tools/bench/v4l2_loop.c
# Tools include their own files as "kvsctl/x.h".
$(O)/obj/tools/%.o: ours_cpp += -Itools
# Loaded before a program's own libraries: tools/bench/replay.c.
ifeq ($(OPENH264),1)
bench-build: $(O)/bench/replay.so
endif
$(O)/bench/replay.so: tools/bench/replay.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	@$(CC) $(ours_cpp) -D_GNU_SOURCE $(ours_c) $(CPPFLAGS) $(CFLAGS) -Wno-pedantic -fvisibility=default -shared -o $@ $< -ldl
