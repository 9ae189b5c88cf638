"""What a report is written as: HTML, PDF, Markdown, LaTeX, CSV, the terminal."""

FORMATS = ("html", "pdf", "md", "tex", "csv")
