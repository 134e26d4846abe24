"""A run as an HTML page and as ``result.json``.

Read ``page.py`` first, then ``view.py``: what the page says. ``charts.py`` and ``timeline.py`` make its drawings.
"""
