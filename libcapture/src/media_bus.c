/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of media bus formats. The codes are the kernel's ABI and written down
 * here, so that an older header leaves none out.
 */
#include "src/media_text.h"

#include <string.h>

static const struct {
	uint32_t code;
	const char *name;
} bus_formats[] = {
	{0x1016, "RGB444_1X12"},
	{0x1001, "RGB444_2X8_PADHI_BE"},
	{0x1002, "RGB444_2X8_PADHI_LE"},
	{0x1003, "RGB555_2X8_PADHI_BE"},
	{0x1004, "RGB555_2X8_PADHI_LE"},
	{0x1017, "RGB565_1X16"},
	{0x1005, "BGR565_2X8_BE"},
	{0x1006, "BGR565_2X8_LE"},
	{0x1007, "RGB565_2X8_BE"},
	{0x1008, "RGB565_2X8_LE"},
	{0x1009, "RGB666_1X18"},
	{0x100e, "RBG888_1X24"},
	{0x1015, "RGB666_1X24_CPADHI"},
	{0x1010, "RGB666_1X7X3_SPWG"},
	{0x1013, "BGR888_1X24"},
	{0x101b, "BGR888_3X8"},
	{0x1014, "GBR888_1X24"},
	{0x100a, "RGB888_1X24"},
	{0x100b, "RGB888_2X12_BE"},
	{0x100c, "RGB888_2X12_LE"},
	{0x101c, "RGB888_3X8"},
	{0x101d, "RGB888_3X8_DELTA"},
	{0x1011, "RGB888_1X7X4_SPWG"},
	{0x1012, "RGB888_1X7X4_JEIDA"},
	{0x101e, "RGB666_1X30_CPADLO"},
	{0x101f, "RGB888_1X30_CPADLO"},
	{0x100d, "ARGB8888_1X32"},
	{0x100f, "RGB888_1X32_PADHI"},
	{0x1018, "RGB101010_1X30"},
	{0x1020, "RGB666_1X36_CPADLO"},
	{0x1021, "RGB888_1X36_CPADLO"},
	{0x1019, "RGB121212_1X36"},
	{0x101a, "RGB161616_1X48"},
	{0x2001, "Y8_1X8"},
	{0x2015, "UV8_1X8"},
	{0x2002, "UYVY8_1_5X8"},
	{0x2003, "VYUY8_1_5X8"},
	{0x2004, "YUYV8_1_5X8"},
	{0x2005, "YVYU8_1_5X8"},
	{0x2006, "UYVY8_2X8"},
	{0x2007, "VYUY8_2X8"},
	{0x2008, "YUYV8_2X8"},
	{0x2009, "YVYU8_2X8"},
	{0x200a, "Y10_1X10"},
	{0x202c, "Y10_2X8_PADHI_LE"},
	{0x2018, "UYVY10_2X10"},
	{0x2019, "VYUY10_2X10"},
	{0x200b, "YUYV10_2X10"},
	{0x200c, "YVYU10_2X10"},
	{0x2013, "Y12_1X12"},
	{0x201c, "UYVY12_2X12"},
	{0x201d, "VYUY12_2X12"},
	{0x201e, "YUYV12_2X12"},
	{0x201f, "YVYU12_2X12"},
	{0x202d, "Y14_1X14"},
	{0x200f, "UYVY8_1X16"},
	{0x2010, "VYUY8_1X16"},
	{0x2011, "YUYV8_1X16"},
	{0x2012, "YVYU8_1X16"},
	{0x2014, "YDYUYDYV8_1X16"},
	{0x201a, "UYVY10_1X20"},
	{0x201b, "VYUY10_1X20"},
	{0x200d, "YUYV10_1X20"},
	{0x200e, "YVYU10_1X20"},
	{0x2024, "VUY8_1X24"},
	{0x2025, "YUV8_1X24"},
	{0x2026, "UYYVYY8_0_5X24"},
	{0x2020, "UYVY12_1X24"},
	{0x2021, "VYUY12_1X24"},
	{0x2022, "YUYV12_1X24"},
	{0x2023, "YVYU12_1X24"},
	{0x2016, "YUV10_1X30"},
	{0x2027, "UYYVYY10_0_5X30"},
	{0x2017, "AYUV8_1X32"},
	{0x2028, "UYYVYY12_0_5X36"},
	{0x2029, "YUV12_1X36"},
	{0x202a, "YUV16_1X48"},
	{0x202b, "UYYVYY16_0_5X48"},
	{0x3001, "SBGGR8_1X8"},
	{0x3013, "SGBRG8_1X8"},
	{0x3002, "SGRBG8_1X8"},
	{0x3014, "SRGGB8_1X8"},
	{0x3015, "SBGGR10_ALAW8_1X8"},
	{0x3016, "SGBRG10_ALAW8_1X8"},
	{0x3017, "SGRBG10_ALAW8_1X8"},
	{0x3018, "SRGGB10_ALAW8_1X8"},
	{0x300b, "SBGGR10_DPCM8_1X8"},
	{0x300c, "SGBRG10_DPCM8_1X8"},
	{0x3009, "SGRBG10_DPCM8_1X8"},
	{0x300d, "SRGGB10_DPCM8_1X8"},
	{0x3003, "SBGGR10_2X8_PADHI_BE"},
	{0x3004, "SBGGR10_2X8_PADHI_LE"},
	{0x3005, "SBGGR10_2X8_PADLO_BE"},
	{0x3006, "SBGGR10_2X8_PADLO_LE"},
	{0x3007, "SBGGR10_1X10"},
	{0x300e, "SGBRG10_1X10"},
	{0x300a, "SGRBG10_1X10"},
	{0x300f, "SRGGB10_1X10"},
	{0x3008, "SBGGR12_1X12"},
	{0x3010, "SGBRG12_1X12"},
	{0x3011, "SGRBG12_1X12"},
	{0x3012, "SRGGB12_1X12"},
	{0x3019, "SBGGR14_1X14"},
	{0x301a, "SGBRG14_1X14"},
	{0x301b, "SGRBG14_1X14"},
	{0x301c, "SRGGB14_1X14"},
	{0x301d, "SBGGR16_1X16"},
	{0x301e, "SGBRG16_1X16"},
	{0x301f, "SGRBG16_1X16"},
	{0x3020, "SRGGB16_1X16"},
	{0x4001, "JPEG_1X8"},
	{0x5001, "S5C_UYVY_JPEG_1X8"},
	{0x6001, "AHSV8888_1X32"},
	{0x7001, "METADATA_FIXED"},
};

const char *capture_media_bus_name(uint32_t code)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bus_formats); i++) {
		if (bus_formats[i].code == code)
			return bus_formats[i].name;
	}
	return NULL;
}

/* "SRGGB10" is short for the one sample per pixel: "SRGGB10_1X10". */
static bool is_short_for(const char *name, const char *text, size_t len)
{
	return strncmp(name, text, len) == 0 &&
	       strncmp(name + len, "_1X", 3) == 0;
}

bool media_bus_code(const char *text, size_t len, uint32_t *ret_code)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bus_formats); i++) {
		if (strlen(bus_formats[i].name) == len &&
		    memcmp(bus_formats[i].name, text, len) == 0) {
			*ret_code = bus_formats[i].code;
			return true;
		}
	}
	for (i = 0; i < ARRAY_SIZE(bus_formats); i++) {
		if (is_short_for(bus_formats[i].name, text, len)) {
			*ret_code = bus_formats[i].code;
			return true;
		}
	}
	return false;
}
