"""Findings of every shape an agent may come up with, sensible or not."""

from __future__ import annotations

from hypothesis import strategies as st

from ostiary.gateway.io import Edit, Finding, Fix, Location, Step, TokenUsage

# Everything UTF-8 has, and lone surrogates, which it has not.
text = st.text(st.characters(), max_size=20)
word = st.sampled_from(["NET-004", "secret/aws", "a", "ä b", ""]) | text
line = st.integers(-3, 40) | st.sampled_from([2**31 - 1, 2**31, 10**30])
file = (
    st.sampled_from(
        [
            *("src/app.py", "my net.py", "a:b.py", "../up.py", "a/../../b", "/etc/x", "C:\\x", ""),
            *("src\\win.py", "100%.txt", "ünï/code.py", "./a//b.py", "a/../b.py", "-", "?q#f"),
        ]
    )
    | text
)
severity = (
    st.sampled_from(["critical", "high", "medium", "low", "note", "High", " INFO ", ""]) | text
)
cwe = st.sampled_from(["", "CWE-89", "cwe-89", "89", "CWE 089", "CWE-79: XSS", "cwe"]) | text
confidence = st.sampled_from(["high", "medium", "low", "HIGH", ""]) | text
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(text | st.just("tags"), json_values, max_size=3)

locations = st.builds(Location, file, line, line, line, line)
steps = st.builds(Step, locations, text)
edits = st.builds(Edit, locations, text)
fixes = st.builds(Fix, text, st.lists(edits, max_size=2))
findings = st.builds(
    Finding,
    word,
    text,
    text,
    severity,
    locations,
    cwe,
    text,
    confidence,
    metadata,
    text,
    st.sampled_from(["", "https://example.com/a b", "not a uri", "https://example.com/%zz"]),
    st.lists(steps, max_size=2),
    st.lists(steps, max_size=2),
    st.lists(fixes, max_size=2),
)
usages = st.builds(TokenUsage, text, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0))
