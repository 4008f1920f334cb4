"""`python -m imle_opt.cli` is `imle-opt`."""

from __future__ import annotations

import sys

from imle_opt.cli import main

sys.exit(main())
