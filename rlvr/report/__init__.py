"""Reports as Markdown and as one HTML page; document renders blocks and formats numbers."""
