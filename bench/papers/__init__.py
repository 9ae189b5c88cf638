"""What papers print and what their code does, as data: a file a paper."""
