/* SPDX-License-Identifier: MIT */
/*
 * list.h - a doubly linked ring threaded through its members.
 *
 * A head and a member have the same type. An empty head, and a member that is
 * on no list, point at themselves, so that list_del() may be called twice.
 * The caller brings the lock.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *next, *prev;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define list_entry(ptr, type, member)   container_of(ptr, type, member)

#define list_for_each(pos, head) for (pos = (head)->next; pos != (head); pos = pos->next)

static inline void list_init(struct list_node *n)
{
	n->next = n;
	n->prev = n;
}

static inline bool list_empty(const struct list_node *head)
{
	return head->next == head;
}

/* list_add - put n right behind head: the newest of a queue. */
static inline void list_add(struct list_node *head, struct list_node *n)
{
	n->next = head->next;
	n->prev = head;
	head->next->prev = n;
	head->next = n;
}

/* list_add_tail - put n right before head: the oldest of a queue. */
static inline void list_add_tail(struct list_node *head, struct list_node *n)
{
	list_add(head->prev, n);
}

static inline void list_del(struct list_node *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
	list_init(n);
}

/* list_oldest - the member that list_add() put in first, NULL if none. */
static inline struct list_node *list_oldest(struct list_node *head)
{
	return list_empty(head) ? NULL : head->prev;
}

#endif
