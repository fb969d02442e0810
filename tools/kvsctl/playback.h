/* SPDX-License-Identifier: Apache-2.0 */
/* What players can make of a stream's newest fragment, by its header. */
#ifndef KVSCTL_PLAYBACK_H
#define KVSCTL_PLAYBACK_H

#include <jansson.h>

#include "base/macros.h"
#include "kvsctl/ctl.h"

/**
 * playback_check() - read the newest stored fragment's header
 * @ret_playback: a new reference:
 *	{"FragmentNumber", "ClipTracks": bool, "Tracks": [{"TrackNumber",
 *	"CodecId", "CodecPrivateBytes", "Playable": bool, "Verdict"}]}; JSON's
 *	null where nothing is stored
 *
 * Asks the API only, so it works with any service of that contract.
 * Return: CTL_OK or the code to exit with (explained).
 */
int playback_check(struct ctl *ctl, const char *stream,
		   json_t **ret_playback) MUST_CHECK;

#endif
