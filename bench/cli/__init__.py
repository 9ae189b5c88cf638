"""The `tunefront` command, one file a command; the only room that imports `reports`."""
