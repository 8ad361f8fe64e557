"""The types of check, as generators that yield what they wait for.

`results`, `connecting`, `tcp`, `http`, `http_answer` (reads an answer), `all_types`.
"""
