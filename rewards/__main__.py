"""`python -m rewards FILE`: try rewards on a file."""

from __future__ import annotations

import sys

from rewards.trial import main

if __name__ == "__main__":
    sys.exit(main())
