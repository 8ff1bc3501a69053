"""The formats of files, each opened without executing anything that is in it."""
