"""A preview as one HTML page.

In reading order: `preview`, `sections`, `details`, `services`, `elements`; with `page.css` and
`page.js`.
"""
