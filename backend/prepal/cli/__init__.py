"""The command line: `prepal`."""
