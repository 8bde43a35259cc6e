"""Every (gate, reason) that the engine can give has words, and a way out, and a case in `explained/`.

The engine's text is read for that: whoever adds a verdict and no words for it meets this test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from schemas.decision import VERDICTS
from streams.reasons import GATES, MEANINGS, WAYS_OUT
from tests.language.test_explained import covered
from tests.support.kafka import ROOT

# What stands for reasons that are no constants in the engine's text: the file, the gate, and what they can be.
COMPUTED: dict[tuple[str, str], tuple[str | None, ...]] = {
    # None: at the end of a journey or of a link, in words.
    ("contacts.py", "withdrawal"): (None, "hold", "consent-withdrawn", "no-consent", "do-not-contact"),
    ("gates.py", "eligibility"): ("nothing-eligible", "capacity"),
    ("proposals.py", "journey"): ("instance-ended",),
    # The rule's name in the policy.
    ("gates.py", "holdout"): (None,),
    ("gates.py", "hold"): (None,),
    ("gates.py", "caps"): (None,),
    ("gates.py", "distance"): (None,),
    ("gates.py", "quiet"): (None,),
    ("waiting.py", "hold"): (None,),
    ("gates.py", "channel"): ("to-absent", "link-absent", "no-address", "address-suppressed"),
    ("promises.py", "promise"): (None,),  # the promise's name
    ("waiting.py", "journey"): ("instance-ended",),
}
# Where a case would be too large to read, the test that has one.
ELSEWHERE = {
    ("duplicate", "already-emitted"): "tests/engine/test_gates.py",
    ("limits", "too-many-actions"): "tests/engine/test_bounds.py",
    ("limits", "too-many-held"): "tests/engine/test_bounds.py",
    ("merge", "too-large-to-hand-over"): "tests/engine/test_identity.py",
    ("identity", "too-many-parked"): "tests/engine/test_identity.py",
    ("stop", "stopped"): "tests/engine/test_gates.py",
    ("withdrawal", "no-consent"): "tests/engine/test_merge.py",  # nothing takes a consent away without a word
    ("edit", "stage-not-mapped"): "tests/engine/test_edits.py",
    # `polku check` refuses such definitions.
    ("consent", "template-not-listed"): "tests/engine/test_gates.py",
    ("consent", "unknown-purpose"): "tests/engine/test_gates.py",
    ("channel", "unknown-action"): "tests/engine/test_gates.py",
}
# Where a call has its gate and its reason.
ARGUMENTS: dict[str, tuple[int | str | None, int | str | None]] = {
    "Verdict": (1, 2),
    "Decision": ("gate", "reason"),
    "_say": (1, 2),
    "Barred": (None, 0),
}
HANDED_ON = ("verdicts.py", "identity.py")  # files where a Decision is made of a Verdict, or by `_say`


def _given() -> Iterator[tuple[str, str, str | None]]:
    """(file, gate, reason) of each verdict in the engine's text; None for a reason that is computed."""
    for path in sorted((ROOT / "streams" / "engine").glob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ARGUMENTS:
                gate, reason = (_argument(call, where, constants) for where in ARGUMENTS[call.func.id])
                if call.func.id == "Barred":
                    gate = "handler" if reason == "condition" else "enter"
                if gate is not None:
                    yield path.name, gate, reason
                else:
                    assert path.name in HANDED_ON, f"{path.name}:{call.lineno}: name the gate where it decides"


def _argument(call: ast.Call, where: int | str | None, constants: dict[str, str]) -> str | None:
    if where is None:
        return None
    value = (
        next((each.value for each in call.keywords if each.arg == where), None)
        if isinstance(where, str)
        else call.args[where]
        if where < len(call.args)
        else None
    )
    if isinstance(value, ast.Name):
        return constants.get(value.id)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def produced() -> set[tuple[str, str | None]]:
    """Every (gate, reason) that the engine can give."""
    found: set[tuple[str, str | None]] = set()
    for file, gate, reason in _given():
        if reason is not None:
            found.add((gate, reason))
        else:
            assert (file, gate) in COMPUTED, f"{file}: say in COMPUTED what the reasons of gate {gate} can be"
            found |= {(gate, each) for each in COMPUTED[file, gate]}
    return found - {("all", "passed")}


PRODUCED = sorted(produced(), key=str)


def test_stories_know_every_gate_and_verdict() -> None:
    """Stories may expect what the engine decides, and nothing else: a slip of the pen is found."""
    assert set(GATES) == {"all"} | {gate for gate, _ in PRODUCED} - {"enter", "handler"}
    page = (ROOT / "docs" / "explaining.md").read_text()
    assert [word for word in (*GATES, *VERDICTS) if f"`{word}`" not in page] == []


@pytest.mark.parametrize(("gate", "reason"), PRODUCED)
def test_every_reason_has_words_and_a_way_out(gate: str, reason: str | None) -> None:
    """In streams/reasons.py; the reason of a withdrawal at the end of something is words already."""
    assert (gate, reason) in WAYS_OUT
    assert (gate, reason) in MEANINGS or (gate, reason) == ("withdrawal", None)


def test_no_words_are_left_over() -> None:
    """For reasons that nobody gives."""
    shell = {("enter", "not-in-force"), ("enter", "condition")}  # said by the explanation; by the tracer
    assert MEANINGS.keys() | WAYS_OUT.keys() == set(PRODUCED) | shell


@pytest.mark.parametrize(("gate", "reason"), [each for each in PRODUCED if each[0] not in {"enter", "handler"}])
def test_every_reason_is_explained_in_a_case(gate: str, reason: str | None) -> None:
    """In explained/, or where ELSEWHERE says."""
    told = covered()
    assert (
        (gate, reason) in told
        or (reason is None and any(each == gate for each, _ in told))
        or (ROOT / ELSEWHERE.get((gate, str(reason)), "nowhere")).exists()
    )
