"""What is odd about the rows of a task, before anything is trained on them. It knows no suites and no cells."""
