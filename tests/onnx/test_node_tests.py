"""The node tests of the ONNX standard: every case agrees, or is refused for a reason listed.

All are run once in a process, because the standard takes seconds to make them.
"""

from __future__ import annotations

from collections import defaultdict

import onnx.defs
import pytest
from support.onnx_cases import INSTALLED, cases, importers, not_supported, outcomes
from support.onnx_page import page
from support.pages import ROOT

LISTED = not_supported().version


def test_all_cases_agree_or_are_refused_for_a_listed_reason() -> None:
    listed, results = not_supported(), outcomes()
    matched: dict[str, list[bool]] = defaultdict(list)
    wrong, unlisted = {}, {}
    for case in cases():
        result, reasons = results[case.key], listed.reasons(case)
        for reason in reasons:
            matched[reason].append(result.agrees)
        if not result.agrees and not result.refused:
            wrong[case.key] = result.message
        elif result.refused and not reasons:
            unlisted[case.key] = result.message
    assert wrong == {}  # refused with OnnxError, or right
    assert {name for name in listed.cases if any(matched[name])} == set()
    if INSTALLED <= LISTED:  # a newer one has more
        assert unlisted == {}
    if INSTALLED == LISTED:
        assert {name for name in listed.cases if not matched[name]} == set()
    assert sum(result.agrees for result in results.values()) >= 400


def test_every_operator_of_the_standard_has_an_importer_or_a_reason() -> None:
    operators = {
        f"{schema.domain}::{schema.name}" if schema.domain else schema.name
        for schema in onnx.defs.get_all_schemas()
    }
    listed = set(not_supported().operators)
    assert listed & importers() == set()
    if INSTALLED <= LISTED:
        assert operators - importers() - listed == set()


@pytest.mark.skipif(INSTALLED != LISTED, reason="the page is of another version of onnx")
def test_the_page_of_operators_is_what_the_cases_say() -> None:
    written = (ROOT / "docs" / "onnx-operators.md").read_text("utf-8")
    assert written == page(), "run python tests/support/onnx_page.py > docs/onnx-operators.md"
