"""Whatever stands in a folder of definitions, checking it gives findings and raises nothing."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.journey import Journey
from streams import definitions, yamltext
from streams.checks import check_directory
from streams.definitions import DefinitionError, fingerprint, from_json, to_json
from streams.engine.rules import Rules, compile_journey
from streams.problems import errors
from streams.simulator import activations
from streams.storyfile import read
from tests.language.test_broken import HERE

if TYPE_CHECKING:
    from pathlib import Path

BASE = HERE / "base"
FILES = ("journeys/card.yaml", "policy.yaml", "templates/resume.email.liquid", "templates/thanks.sms.liquid")
STORY = HERE.parent.parent / "seeds" / "journeys" / "onboarding_test.yaml"
TOKENS = [
    *("", " ", "\n", "  ", "\t", ":", ": ", "- ", "{", "}", "[", "]", "*a", "&a ", "!x ", "'", '"', "|\n", ">-\n", "#"),
    *("null", "true", "no", "on arrival", "if", "when", "after", "0", "-1", "1e999", ".nan", "99999999999999999999"),
    *("vars.x", "event.", "journey.count(", "traits[", "&&", "{{", "{%", "%}", "%YAML 1.1\n", "---\n", "...\n"),
    *("\x00", "\ufeff", "\u2028", '"\\ud800"', '"\\U00110000"', "\U0001f600", "<<: ", "? ", "0x", "12:30"),
]


def mutated(text: str, seed: int, times: int) -> str:
    """The text with some pieces removed, doubled, moved or replaced by tokens that mean something somewhere."""
    chance = random.Random(seed)
    for _ in range(times):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.choice((0, 1, 1, 2, 5, 20, 80)))
        piece = chance.choice((chance.choice(TOKENS), text[at:to] * 2, ""))
        where = chance.randrange(len(text) + 1) if chance.random() < 0.2 else at
        text = (
            text[:where] + piece + text[max(to, where) :]
            if where <= at
            else text[:at] + text[to:where] + piece + text[where:]
        )
    return text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), seed=st.integers(0, 2**32), times=st.integers(1, 6))
def test_mutations_give_findings_only(name: str, seed: int, times: int, tmp_path: Path) -> None:
    """Any mutation of a sound folder is sound still, or is reported; what is without errors also compiles."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(mutated((BASE / name).read_text(), seed, times), errors="surrogatepass")
    problems = check_directory(tmp_path)
    for problem in problems:
        assert problem.way_out
        assert problem.line >= 1
        assert problem.column >= 1
    loaded = definitions.load(tmp_path)
    if not errors(problems):
        for each in loaded.loaded():
            assert from_json(to_json(each)).fingerprint == each.fingerprint
        assert loaded.policy is not None
        for journey in loaded.journeys:
            compile_journey(journey.model, loaded.policy.model)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["offers/gold.yaml", "journeys/offers.yaml"]), seed=st.integers(0, 2**32))
def test_mutated_offers(name: str, seed: int, tmp_path: Path) -> None:
    """Any mutation of an offer, or of who asks for it, is sound still or reported; what is sound comes in force."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    shutil.copytree(BASE.parent / "offered", tmp_path, dirs_exist_ok=True)
    assert check_directory(tmp_path) == []
    path = tmp_path / name
    path.write_text(mutated(path.read_text(), seed, 1 + seed % 5), errors="surrogatepass")
    problems = check_directory(tmp_path)
    assert all(problem.way_out and problem.line >= 1 and problem.column >= 1 for problem in problems)
    if not errors(problems):
        loaded = definitions.load(tmp_path).loaded()
        assert [from_json(to_json(each)).fingerprint for each in loaded] == [each.fingerprint for each in loaded]
        known = definitions.library(loaded)
        Rules(known, {f"{each.kind}/{each.name}": (each.version, each.fingerprint) for each in activations(known)}, [])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), times=st.integers(1, 6))
def test_mutated_stories(seed: int, times: int, tmp_path: Path) -> None:
    """Any mutation of a test file is read, or is reported."""
    path = tmp_path / "x_test.yaml"
    path.write_text(mutated(STORY.read_text(), seed, times))
    stories, problems = read(path)
    assert stories or problems or not path.read_text().strip("[]{} \n")


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200) | st.text(st.sampled_from("ab:-? \n'\"[]{}&*!|>#%\t\\u0"), max_size=60).map(str.encode)
)
def test_any_bytes(data: bytes) -> None:
    """Any bytes at all are a tree or findings."""
    root, problems = yamltext.parse(data, "f")
    assert root is None or all(problem.line >= 1 for problem in problems)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"kind":"x"}',
        b'{"kind":"journey","name":"a","version":1,"fingerprint":"","body":{}}',
    ],
)
def test_published_rubbish(value: bytes) -> None:
    """What is no published definition is refused with one kind of error."""
    with pytest.raises(DefinitionError):
        from_json(value)


@pytest.mark.parametrize(
    "stage",
    [
        [{"when": "left", "if": "event.x = 1", "end": True}],
        [{"when": "left", "do": [{"show_banner": {"more": 'link("/cards")'}}]}],
        [{"when": "left", "to": "elsewhere"}],
    ],
)
def test_what_cannot_run_is_not_taken_from_the_topic(stage: list[dict[str, Any]]) -> None:
    """Somebody may write into the topic without asking `polku publish`: a partition must not stop at it."""
    model = Journey.model_validate({"journey": "a", "version": 1, "enter": {"when": "x"}, "stages": {"open": stage}})
    published = {"kind": "journey", "name": "a", "version": 1, "fingerprint": fingerprint(model)}
    body = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    with pytest.raises(DefinitionError, match="cannot run"):
        from_json(msgspec.json.encode({**published, "body": body}))


def test_laughs_do_not_grow() -> None:
    """Aliases of aliases are refused before they are expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    root, problems = yamltext.parse("\n".join(lines).encode(), "f")
    assert root is not None
    assert len(problems) == yamltext.MAX_PROBLEMS
