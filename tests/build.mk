# SPDX-License-Identifier: Apache-2.0
# Shared fakes: one per ops table.
support_src := \
	tests/support/heap_account.c tests/support/scratch.c tests/support/sys_fault.c tests/support/test_cert.c

support_src += tests/support/fake_v4l2.c tests/support/fake_v4l2_work.c \
	tests/support/fake_settings.c tests/support/source_rig.c
support_src += tests/support/encoder_rig.c tests/support/fake_media.c
support_src += tests/support/catalog_fake.c tests/support/loop_fake.c \
	tests/support/store_fake.c tests/support/store_rig.c \
	tests/support/segment_past.c tests/support/sys_crash.c tests/support/sys_zero.c
support_src += tests/support/mkv_build.c tests/support/mkv_events.c
support_src += tests/support/fake_source.c tests/support/fake_sync.c
support_src += tests/support/conn_bench.c tests/support/fsck_bench.c tests/support/seeds.c tests/support/store_mem.c
support_src += tests/support/fault_rig.c tests/support/loop_fault.c tests/support/serve_child.c \
	tests/support/sqlite_fault.c tests/support/upload_raw.c

# Tests include what they share as "support/x.h".
$(O)/obj/tests/%.o: ours_cpp += -Itests

# tests/unit/<name>.c, one binary each, cmocka
unit_tests := test_base test_cert test_conn test_conn_memory test_conn_tls test_loop test_tls
unit_tests += test_ack test_aws_profile test_crypto test_epoch test_fragment_number test_http \
	test_kvsctl test_names test_sigv4
$(O)/obj/tests/unit/test_kvsctl.o: ours_cpp += -Itools

unit_tests += test_capture_arena test_capture_device test_capture_encoder test_capture_encoder_m2m \
	test_capture_keyframe test_capture_pixfmt test_capture_source
unit_tests += test_capture_soft test_capture_thermal test_capture_thermal_map
unit_tests += test_capture_aac test_capture_alsa test_capture_g711 test_capture_iio \
	test_capture_records test_capture_synthetic
unit_tests += test_capture_media test_doctor
$(O)/obj/tests/unit/test_doctor.o: ours_cpp += -Itools
unit_tests += test_align_page test_align_rule test_align_submit test_capture_align test_capture_feed test_sync
$(O)/obj/tests/unit/test_align_page.o $(O)/obj/tests/unit/test_align_rule.o $(O)/obj/tests/unit/test_align_submit.o $(O)/obj/tests/unit/test_capture_align.o $(O)/obj/tests/unit/test_capture_feed.o: \
	ours_cpp += -Ikmod -Ikmod/include/uapi
$(O)/obj/tests/unit/test_sync.o: ours_cpp += -Itools
unit_tests += test_frame_count
unit_tests += test_capture_blank test_capture_guard test_capture_stuck test_capture_supervisor
unit_tests += test_capture_source_frames test_capture_source_settings \
	test_capture_source_memory test_capture_sync test_capture_pcm \
	test_capture_canary test_capture_coherency
$(O)/tests/test_capture_source_memory: ours_ld += \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
unit_tests += test_backup_live test_catalog test_catalog_copies test_data_dir test_disk_forecast test_expiry test_fsck test_fsck_unindexed test_index test_index_gather test_index_known test_index_rebuild test_kms_keys test_segment_codec test_slow_disk test_store_compact test_store_hold test_store_local test_store_recovery test_store_recycle test_store_room test_worker
unit_tests += test_clip test_hold_socket test_ingest test_live test_media_out test_paced_out test_serve_config test_serve_control \
	test_serve_metrics
unit_tests += test_recorder
unit_tests += test_rate test_recv_lowat test_codec_check test_ebml test_frame_index test_frame_time test_h264 test_h265 \
	test_mkv_frames test_mkv_reader test_mkv_writer test_mp4

# tests/fault/<name>.c: fail the n-th call
# The longest first, as they run beside each other.
fault_tests := fault_serve fault_capture fault_store fault_agent fault_sources fault_producer \
	fault_supervisor
$(O)/tests/fault_producer $(O)/tests/fault_serve: ours_ld += -Wl,--wrap=loop_uring_new

# tests/sim/<name>.c: seeded simulations
sim_tests :=
sim_tests += sim_store_crash sim_upload sim_tsalign sim_ingest_fleet sim_ingest sim_get_media
sim_tests += sim_index sim_index_retention
bench-build: $(O)/tests/sim_index_retention
sim_tests += sim_supervisor

# tsalign's core, as the module has it
unit_tests += test_tsalign_core test_tsalign_fit
$(foreach t,unit/test_tsalign_core unit/test_tsalign_fit sim/sim_tsalign fuzz/fuzz_tsalign \
	fuzz/fuzz_align_page, \
	$(O)/obj/tests/$(t).o): ours_cpp += -Ikmod -Ikmod/include/uapi
$(O)/tests/sim_tsalign: ours_ld += -Wl,--no-as-needed -lm -Wl,--as-needed

# tests/fuzz/<name>.c: LLVMFuzzerTestOneInput; `make check` replays
# tests/fuzz/corpus/<name>/ through tests/fuzz/replay_main.c
fuzz_targets :=
fuzz_targets += fuzz_tsalign fuzz_align_page
fuzz_targets += fuzz_ack fuzz_http fuzz_sigv4
fuzz_targets += fuzz_index_block fuzz_segment
fuzz_targets += fuzz_record
fuzz_targets += fuzz_media_text
fuzz_targets += fuzz_frame_index fuzz_h264 fuzz_mkv_reader

# Helper programs of the end-to-end tests; sources in <name>_src
test_programs :=

# What tests/run-check runs each test in
test_programs += bounded
bounded_src := tests/support/bounded.c

# What libcapture does on this kernel; run in a guest (tests/hil/guest)
test_programs += capture_probe
capture_probe_src := tests/hil/capture_probe.c
# A supervised source against what vivid can inject
test_programs += supervise_probe
supervise_probe_src := tests/hil/supervise_probe.c
# Camera to M2M encoder, with every control, and what became of each frame
test_programs += encoder_probe
encoder_probe_src := tests/hil/encoder_probe.c
# Media graphs, pipeline setup, matching; in a guest
test_programs += media_probe
media_probe_src := tests/hil/media_probe.c
# What any other source gives there
test_programs += source_probe
source_probe_src := tests/hil/source_probe.c
# Decodes FWHT with vicodec's decoder and measures against the raw frames
test_programs += fwht_decode
fwht_decode_src := tests/hil/fwht_decode.c

# Pictures of counts into files, for ffmpeg to read
test_programs += thermal_probe
thermal_probe_src := tests/hil/thermal_probe.c

# The same of libcamera's cameras
test_programs += libcamera_probe
libcamera_probe_src := tests/hil/libcamera_probe.c

# tsalign's pages and its ring between threads; in a guest
test_programs += tsalign_race
tsalign_race_src := tests/hil/tsalign_race.c
$(O)/obj/tests/hil/tsalign_race.o: ours_cpp += -isystem kmod/include/uapi

# The same pairs through the module and in a program; in a guest
test_programs += tsalign_same
tsalign_same_src := tests/hil/tsalign_same.c
$(O)/obj/tests/hil/tsalign_same.o: ours_cpp += -Ikmod -Ikmod/include/uapi

# When frames were taken, and by whose word; in a guest
test_programs += align_probe
align_probe_src := tests/hil/align_probe.c

test_programs += http_probe sigv4_probe
http_probe_src := tests/conformance/http_probe.c
sigv4_probe_src := tests/e2e/sigv4_probe.c

test_programs += mkvdump mkvremux
mkvdump_src := tests/e2e/mkvdump.c
mkvremux_src := tests/e2e/mkvremux.c

# Device side: fragmenter, store, upload session, agent
unit_tests += test_agent_output test_agent_pipeline test_agent_track
$(O)/tests/test_agent_output: ours_ld += -Wl,--wrap=capture_thermal_codec
unit_tests += test_agent_config test_encode_thread test_backoff test_fragmenter test_http_client \
	test_json_find test_retain_ram test_upload test_upload_retention
fuzz_targets += fuzz_json_find
$(O)/tests/sim_ingest_fleet: ours_ld += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
test_programs += producer_put
producer_put_src := tests/e2e/producer_put.c
