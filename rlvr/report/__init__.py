"""Reports as Markdown and as one HTML page; document renders their blocks."""
