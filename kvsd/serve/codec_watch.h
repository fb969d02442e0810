/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an upload's header says about how its media will play: checked as it
 * arrives, logged and counted, never refused (the contract stores any codec).
 * The header is stored with each fragment, so that is where the verdict stays
 * for whoever asks later (kvsctl describe-stream --playback).
 */
#ifndef SERVE_CODEC_WATCH_H
#define SERVE_CODEC_WATCH_H

#include <stdbool.h>

#include "proto/mkv_reader.h"

struct exchange;
struct live_stream;

/**
 * codec_watch() - a header has arrived
 * @ex: its upload
 * @live: keeps the tracks' hash, to see the next upload's changes
 *
 * Return: a clip can be made of it.
 */
bool codec_watch(const struct exchange *ex, struct live_stream *live,
		 const struct mkv_document *doc);

#endif
