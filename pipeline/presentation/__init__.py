"""How results are written: tables, Markdown, HTML, SVG, the terminal."""
