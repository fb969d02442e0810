# SPDX-License-Identifier: Apache-2.0
capture_major := 0
capture_version := $(capture_major).1

base_src := $(addprefix libcapture/base/, \
	buf.c crc32c.c log.c parse.c sys.c sys_posix.c)

capture_src := $(addprefix libcapture/src/, \
	api.c arena.c device.c encoder.c encoder_m2m.c encoder_m2m_controls.c \
	encoder_m2m_headers.c encoder_m2m_setup.c encoder_soft.c \
	frame.c keyframe.c origins.c pixfmt.c queue.c queue_memory.c \
	source.c source_v4l2.c v4l2.c)
capture_src += $(addprefix libcapture/src/, \
	frame_pool.c pattern.c pcm.c record.c records_port.c source_records.c \
	source_synthetic.c)
capture_src += $(addprefix libcapture/src/, encoder_y16.c thermal.c thermal_map.c \
	thermal_measure.c)
capture_src += $(addprefix libcapture/src/, \
	controls.c queue_canary.c queue_heap.c settings.c signal.c source_v4l2_frames.c)
capture_src += $(addprefix libcapture/src/, encoder_g711.c g711.c scan_gaps.c sensor.c supervisor_call.c thread.c)
capture_src += libcapture/src/encoder_guard.c libcapture/src/encoder_guard_thread.c
# Each file of an optional library, by its switch (see the Makefile).
capture_src += $(addprefix libcapture/src/, \
	$(if $(filter 1,$(OPENH264)),encoder_openh264.c) \
	$(if $(filter 1,$(TURBOJPEG)),encoder_jpeg.c) \
	$(if $(filter 1,$(ALSA)),source_alsa.c) $(if $(filter 1,$(IIO)),source_iio.c) \
	$(if $(filter 1,$(AVCODEC)),avcodec.c encoder_aac.c encoder_ffv1.c))
capture_src += $(addprefix libcapture/src/, \
	device_match.c media.c media_bus.c media_setup.c media_text.c)
capture_src += $(addprefix libcapture/src/, \
	blank.c supervisor.c supervisor_frames.c supervisor_setup.c)
# One timeline; the estimator is the kernel module's own.
capture_src += $(addprefix libcapture/src/, \
	align.c align_clock.c align_page.c align_rule.c align_submit.c align_timeline.c feed.c frame_count.c)
capture_src += $(addprefix kmod/, tsalign_core.c tsalign_fit.c tsalign_line.c \
	tsalign_pair.c)
$(O)/obj/libcapture/src/align.o $(O)/obj/libcapture/src/align_%.o $(O)/obj/libcapture/src/feed.o $(O)/obj/kmod/%.o: \
	ours_cpp += -Ikmod -Ikmod/include/uapi
# Loaded when it is asked for, so that nobody else loads libcamera.
capture_src += libcapture/src/source_module.c
module_libcamera_src := $(addprefix libcapture/src/, drm_format.c libcamera_controls.cpp \
	libcamera_format.cpp libcamera_manager.cpp source_libcamera.cpp)
# For copies of frames, the library's own pool.
module_libcamera_src += $(addprefix libcapture/src/, \
	arena.c frame.c frame_pool.c queue.c queue_heap.c queue_memory.c v4l2.c)
