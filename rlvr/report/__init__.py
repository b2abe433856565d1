"""Reports as Markdown and as one HTML page.

document        blocks (headings, text, tables, quoted texts), rendered by report.md.j2 and
                report.html.j2
number_format   shares with their standard errors, percentages, counts
"""
