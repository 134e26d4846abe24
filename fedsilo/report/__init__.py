"""One run as a page, as charts and as ``result.json``.

Read ``page.py`` first.
A page loads nothing and runs no script.
"""
