/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/api.h>

const char *capture_rung_name(enum capture_rung rung)
{
	switch (rung) {
	case CAPTURE_RUNG_AUTO:
		return "auto";
	case CAPTURE_RUNG_S1:
		return "S1";
	case CAPTURE_RUNG_S2:
		return "S2";
	case CAPTURE_RUNG_S3:
		return "S3";
	case CAPTURE_RUNG_S4:
		return "S4";
	case CAPTURE_RUNG_S5:
		return "S5";
	}
	return "?";
}
