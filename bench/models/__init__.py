"""A pretrained model on a task: its files, fresh copies, families, scores and losses."""
