/* SPDX-License-Identifier: Apache-2.0 */
/* How http.c and the answers work together; operations use http.h. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "base/macros.h"
#include "serve/http.h"

/* Back to HEAD: forgets the request and looks at what follows it. */
void exchange_next(struct exchange *ex);
/* No further request: sends what is queued, then closes. */
void exchange_close(struct exchange *ex);

/* The request's line in the log when its answer was never finished. */
void answer_log_cut(struct exchange *ex, int why);

/* The body as a JSON object; NULL when it is something else. */
json_t *answer_parse_json(const struct exchange *ex);

#endif
