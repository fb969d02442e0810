/* SPDX-License-Identifier: Apache-2.0 */
/* What is found lies inside the document and can be found again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "a", "a.b", "a.b.c", "Message",
					     "StreamInfo.Status" };
	struct slice doc = { (const char *)data, size };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct slice v;
		struct slice again;
		char text[64];
		uint64_t n;
		int r;

		(void)!json_find_u64(doc, paths[i], &n);
		r = json_find_string(doc, paths[i], text, sizeof(text));
		if (r >= 0 && strlen(text) != (size_t)r)
			abort();
		if (json_find(doc, paths[i], &v) < 0)
			continue;
		if (v.ptr < doc.ptr || v.ptr + v.len > doc.ptr + doc.len ||
		    !v.len)
			abort();
		if (json_find(doc, paths[i], &again) < 0 ||
		    again.ptr != v.ptr || again.len != v.len)
			abort();
	}
	return 0;
}
