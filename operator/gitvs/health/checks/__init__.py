"""The types of check, as generators that yield what they wait for.

`results`, `connecting`, `tcp`, `http`, `http_answer` (reads an answer), `udp`,
`dns`, `ping`, `all_types`.
"""
