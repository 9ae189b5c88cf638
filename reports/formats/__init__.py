"""The formats of a report: HTML, PDF, Markdown, LaTeX, CSV, the terminal."""

FORMATS = ("html", "pdf", "md", "tex", "csv")
