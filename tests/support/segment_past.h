/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a segment has something of the one whose file it was made of. */
#ifndef SUPPORT_SEGMENT_PAST_H
#define SUPPORT_SEGMENT_PAST_H

/*
 * Looks at the first few hundred numbers of a store's directory. One whose
 * START record is damaged says nothing. Return: a segment with a whole record
 * of another generation, or of another number; 0: there is none.
 */
unsigned int segment_with_past(const char *dir);

#endif
