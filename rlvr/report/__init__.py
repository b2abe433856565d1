"""Reports that people read: blocks of text and tables, as Markdown and as one HTML page.

document    headings, text, tables, completions; as Markdown      page        the same as HTML
numbers     shares with their errors, counts, seconds             evaluation  of `rlvr eval`
comparison  of `rlvr compare`: several evaluations in one
"""
