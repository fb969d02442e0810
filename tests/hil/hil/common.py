# SPDX-License-Identifier: Apache-2.0
"""Exit codes, messages and paths that every part of the harness shares."""

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPO = HERE.parent.parent

# The command's own exit code passes through, so the harness keeps to numbers
# that neither programs (0..125) nor shells (126..165) use.
EXIT_BOOT = 200  # the guest never reached the command
EXIT_TIMEOUT = 201
EXIT_KERNEL = 202  # no kernel, or one without a required option
EXIT_MODULE = 203
EXIT_SETUP = 204  # bad arguments, a missing package or file on the host
EXIT_DIED = 205  # the guest ended before the command did
EXIT_SPLAT = 206  # the command passed, the guest kernel reported a bug

START = time.monotonic()


class HarnessError(Exception):
    """Ends the run with one of the codes above."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def say(message):
    elapsed = time.monotonic() - START
    print(f"hil: {elapsed:5.1f} s  {message}", file=sys.stderr, flush=True)
