# SPDX-License-Identifier: Apache-2.0
"""The hardware-in-the-loop guest harness; see ../DESIGN.md."""
