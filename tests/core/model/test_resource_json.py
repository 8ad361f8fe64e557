"""JSON for programs, which people see on terminals too."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gitvs.core.model.resource_json import json_text

texts = st.text() | st.text(st.sampled_from("a\x1b\x7f\x9b\u202e\u2066\U000e0001é→\n\t\\\"'"))


@given(value=st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
@example(value="\x1b[31m\x7f\x9b\u202e\U000e0001\ud800")
def test_nothing_in_json_is_obeyed_by_a_terminal_and_its_value_stays(value: Any) -> None:
    text = json_text(value)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert json.loads(text) == value


def test_letters_of_any_language_stay_as_they_are() -> None:
    assert json_text({"é": "→ 負荷"}) == '{\n  "é": "→ 負荷"\n}\n'
