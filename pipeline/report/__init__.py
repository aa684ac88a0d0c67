"""The report: verdict, tables, figures and findings, as HTML and Markdown."""
