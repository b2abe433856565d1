"""`python -m rlvr`: the command `rlvr`."""

from rlvr.cli import run

if __name__ == "__main__":
    run()
