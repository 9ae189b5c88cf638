"""From a suite file and what a call changes of it to cells, with all mistakes told before anything runs."""
