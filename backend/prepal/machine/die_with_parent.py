"""Becomes another program that the kernel signals when its parent dies, however the parent dies.

`python -m prepal.machine.die_with_parent TERM program argument …`
"""

import ctypes
import os
import signal
import sys

# From <sys/prctl.h>; the setting outlives the exec below. Only Linux has it, elsewhere an orphan lives on.
PR_SET_PDEATHSIG = 1


def main(signal_name: str, program: str, *arguments: str) -> None:
    """Ask for the signal, then replace this process by the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.Signals[f"SIG{signal_name}"].value)
    os.execvp(program, [program, *arguments])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
