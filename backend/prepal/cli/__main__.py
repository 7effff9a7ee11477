"""`python -m prepal.cli`."""

import sys

from prepal.cli.main import main

sys.exit(main())
