/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list. A node that is on no list points to itself,
 * so list_del() may be called twice.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct list_node {
	struct list_node *prev;
	struct list_node *next;
};

static inline void list_init(struct list_node *n)
{
	n->prev = n;
	n->next = n;
}

static inline bool list_empty(const struct list_node *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list_node *head, struct list_node *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void list_add_head(struct list_node *head, struct list_node *n)
{
	n->prev = head;
	n->next = head->next;
	head->next->prev = n;
	head->next = n;
}

static inline void list_del(struct list_node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Remove and return the first node, or NULL when the list is empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
	struct list_node *n = head->next;

	if (n == head)
		return NULL;
	list_del(n);
	return n;
}

/* Move all of @from to the end of @to. */
static inline void list_splice_tail(struct list_node *to,
				    struct list_node *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* Walk a list whose current node may be removed by the body. */
#define list_for_each_safe(pos, tmp, head)                  \
	for ((pos) = (head)->next, (tmp) = (pos)->next;     \
	     (pos) != (head); (pos) = (tmp), (tmp) = (pos)->next)

#endif
