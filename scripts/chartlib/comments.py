"""The comments of values.yaml, by key."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"^(?P<indent> *)(?:- )?# ?(?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<item>- )?(?P<name>[A-Za-z][A-Za-z0-9_]*):")


def comments(text: str) -> dict[str, str]:
    r"""Dotted path of a key -> the comment right above it. Items of a list have the path of the list.

    >>> comments("# One.\na:\n  # Two,\n  # three.\n  b: 1\n")
    {'a': 'One.', 'a.b': 'Two, three.'}
    """
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    said: list[str] = []
    for line in text.splitlines():
        comment = _COMMENT.match(line)
        if comment:
            said.append(comment["text"].strip())
            continue
        key = _KEY.match(line)
        if key is None:
            said = []
            continue
        indent = len(key["indent"]) + len(key["item"] or "")
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, key["name"]))
        if said:
            found[".".join(name for _, name in stack)] = " ".join(said)
        said = []
    return found
