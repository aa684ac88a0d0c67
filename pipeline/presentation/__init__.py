"""Output of results: tables, Markdown, HTML, SVG, the terminal."""
