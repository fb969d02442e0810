/* SPDX-License-Identifier: GPL-2.0-only */
/* For guests alone: a board for tsalign.ko that is made of software nodes. */
#ifndef TSALIGN_TEST_BOARD_H
#define TSALIGN_TEST_BOARD_H

#include <linux/gpio/machine.h>
#include <linux/gpio/property.h>
#include <linux/platform_device.h>
#include <linux/property.h>

/* @ref must outlive the board. */
static inline struct property_entry
board_reference(const char *name, struct software_node_ref_args *ref)
{
	return (struct property_entry)PROPERTY_ENTRY_REF_ARRAY_LEN(name, ref, 1);
}

static inline void board_unregister(const struct software_node *const *nodes,
				    struct platform_device *board)
{
	if (!board)
		return;
	platform_device_unregister(board);
	software_node_unregister_node_group((const struct software_node **)nodes);
}

/* @nodes: the chip's, then that of the board, then its children's, NULL. */
static inline int board_register(const struct software_node *const *nodes,
				 struct platform_device **ret)
{
	struct platform_device_info info = {
		.name = "tsalign",
		.id = PLATFORM_DEVID_NONE,
	};
	struct platform_device *board;
	int r;

	r = software_node_register_node_group((const struct software_node **)nodes);
	if (r)
		return r;
	info.fwnode = software_node_fwnode(nodes[1]);
	board = platform_device_register_full(&info);
	if (IS_ERR(board)) {
		software_node_unregister_node_group((const struct software_node **)nodes);
		return PTR_ERR(board);
	}
	*ret = board;
	return 0;
}

#endif
