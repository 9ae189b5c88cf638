"""Cost tables of papers, compared with ours."""
