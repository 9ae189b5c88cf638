"""A pretrained model on a task: where it is, pristine copies, families, scores, losses."""
