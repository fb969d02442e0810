# SPDX-License-Identifier: Apache-2.0
producer_major := 0
producer_version := $(producer_major).1

proto_src := $(addprefix kvsd/proto/, \
	ack.c \
	aws_profile.c \
	epoch.c \
	fragment_number.c \
	http.c \
	json_find.c \
	names.c \
	segment.c \
	sigv4.c \
	slice.c \
	ustar.c)

# Media containers and bitstreams.
proto_src += $(addprefix kvsd/proto/, \
	codec_check.c ebml.c mkv.c mkv_block.c mkv_frames.c mkv_leaf.c mkv_reader.c mkv_writer.c \
	nal.c h264.c h265.c fwht.c frame_time.c frame_index.c mp4.c)

core_src := $(addprefix kvsd/core/, \
	disk_forecast.c clip.c frame_probe.c index_block.c ingest.c ingest_sink.c key_error.c loop.c \
	media_out.c rate.c recv_lowat.c)

# The device's side of core/ and io/.
core_src += $(addprefix kvsd/core/, \
	au.c backoff.c clock_map.c fragmenter.c histogram.c retain_ram.c \
	upload.c)

io_src := $(addprefix kvsd/io/, \
	api_call.c aws_request.c config_ini.c http_client.c conn.c conn_open.c \
	crypto.c crypto_aead.c crypto_openssl.c loop_uring.c resolve.c tls.c tls_records.c)

# The service only: local store (segments, SQLite index, catalog), its certificates.
store_src := $(addprefix kvsd/io/, \
	catalog_cache.c catalog_db.c catalog_holds.c catalog_sqlite.c \
	catalog_sqlite_hold.c catalog_sqlite_open.c cert.c crypto_ipsec_mb.c data_dir.c \
	db_sqlite.c disk_reserve.c index_blocks.c index_delete.c index_known.c index_query.c \
	index_sqlite.c key_cache.c kms_keys.c kms_local.c segment_file.c \
	segment_replay.c segment_seal.c segment_table.c \
	store_fsck.c store_local.c store_local_compact.c store_local_compact_choose.c \
	store_local_compact_write.c store_local_index.c store_local_read.c \
	store_local_recover.c store_local_room.c store_local_segment.c \
	store_local_spare.c store_local_write.c \
	worker.c)

# libkvsproducer's public face; the parts under it are in core/ and io/.
producer_src := $(addprefix kvsd/io/, \
	kvs_client.c kvs_producer.c kvs_recorder.c producer_front.c producer_net.c)

agent_src := $(addprefix kvsd/agent/, \
	agent.c config.c config_source.c config_value.c credentials.c \
	devices.c encode_thread.c feed.c output.c pipeline.c report.c \
	stream.c tap.c track.c)

serve_src := $(addprefix kvsd/serve/, \
	answer.c archived.c backup.c backup_catalog.c backup_segments.c codec_watch.c control.c control_check.c credentials.c expiry.c \
	fsck.c fsck_hold.c \
	export_file.c get_clip.c get_media.c health.c hold.c hold_socket.c http.c import.c import_fragment.c listen.c live.c metrics.c mount.c notify.c \
	operations.c ops.c options.c put_media.c quota.c retention.c \
	paced_out.c quickstart.c serve.c server.c stored_out.c token.c tool_dir.c)
