"""The `farm` command: one group of commands a file; `render` is the only one that prints."""
