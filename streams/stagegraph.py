"""The way through a journey's stages: what leads where, and the stages that nobody reaches, leaves or passes in time.

It reads the tree as written, so that a definition with other faults is checked as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from streams.engine.durations import duration
from streams.problems import Problem, choose, did_you_mean
from streams.shapes import entries, handlers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.yamltext import Node

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_PAUSE = re.compile(r"([1-9][0-9]{0,5}[smhdw])( of silence)?")
# Whoever goes round by timers alone does so for ever, and each turn costs like an event: 20 us. Ten thousand customers
# in a loop of a minute take 0.3 % of a core; in one of a second they would take 20 %.
LEAST_TURN = 60_000  # ms
# Each time one of a stage's timers fires, all of them are looked at.
MAX_TIMERS = 50
FILLED = "a stage that nobody can leave keeps its customers for ever, and nobody comes back into the journey"


@dataclass(slots=True)
class Way:
    """What the handlers of one stage do with the one who is in it."""

    to: dict[str, Node] = field(default_factory=dict)
    arrival: dict[str, Node] = field(default_factory=dict)  # the part of `to` that takes no time
    pauses: dict[str, tuple[int, Node]] = field(default_factory=dict)  # the part that takes a time (ms) and no event
    timers: list[Node] = field(default_factory=list)
    ends: bool = False


class StageGraph:
    """The stages of one journey and the ways between them."""

    def __init__(self, root: Node, file: str) -> None:
        self.root, self.file = root, file
        stages = root.get("stages")
        self.stages: Node | None = stages if stages is not None and stages.kind == "map" and stages.fields else None
        self.names = list(self.stages.fields) if self.stages is not None else []
        self.ways = {name: Way() for name in self.names}
        self.anywhere = Way()
        for stage, _, handler in handlers(root):
            way = self.anywhere if stage is None else self.ways[stage]
            end, to = handler.get("end"), handler.get("to")
            way.ends |= end is not None  # whatever stands there, an end is meant
            timer = handler.get("after") or handler.get("at")
            if timer is not None:
                way.timers.append(timer)
            target = self._meant(to)
            if to is not None and target is not None:
                way.to.setdefault(target, to)
                if "on arrival" in handler.fields:
                    way.arrival.setdefault(target, to)
                elif timer is not None:
                    # Who goes round by a local or a working time takes a day, or an hour of somebody's work.
                    pause = _PAUSE.fullmatch(str(timer.value))
                    time = duration(pause[1]) if pause is not None else LEAST_TURN
                    if target not in way.pauses or time < way.pauses[target][0]:
                        way.pauses[target] = time, timer

    def _meant(self, to: Node | None) -> str | None:
        """The stage a `to` names; for a misspelt one the likeliest, so that one mistake is reported once."""
        if to is None or not isinstance(to.value, str):
            return None
        return to.value if to.value in self.ways else did_you_mean(to.value, self.names)

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with the ways."""
        yield from self._unknown()
        yield from self._moved()
        if self.stages is None:
            return
        yield from self._unreachable()
        yield from self._dead_ends()
        yield from self._loops()
        yield from self._short_turns()
        yield from self._many_timers()
        yield from self._shadowed()

    def _wanted(self) -> list[Node]:
        """Every `to` as written."""
        wanted = [node for _, _, handler in handlers(self.root) if (node := handler.get("to"))]
        return wanted + [node for entry in entries(self.root) if (node := entry.get("to"))]

    def _unknown(self) -> Iterator[Problem]:
        wanted = self._wanted()
        goal = self.root.get("goal")
        if goal is not None:
            wanted += goal.items if goal.kind == "list" else [goal]
        for node in wanted:
            if isinstance(node.value, str) and node.value not in self.ways and _NAME.fullmatch(node.value):
                way_out = choose(node.value, self.names, "declare it under 'stages:'")
                yield Problem(self.file, node.line, node.column, f"unknown stage '{node.value}'", way_out)

    def _moved(self) -> Iterator[Problem]:
        moved, edits = self.root.get("moved"), self.root.get("edits")
        if moved is None or moved.kind != "map":
            return
        if edits is None or edits.value == "pinned":
            message = "nobody moves to this version: those in earlier ones stay there"
            way_out = "write 'edits: follow' beside it, or leave 'moved' out"
            yield Problem(self.file, *self.root.key_place("moved"), message, way_out)
        for stage, to in moved.fields.items():
            if stage in self.ways:
                message = f"'{stage}' is a stage of this version: those in it stay in it"
                yield Problem(self.file, *moved.key_place(stage), message, "name stages of earlier versions only")
            if isinstance(to.value, str) and to.value not in self.ways and _NAME.fullmatch(to.value):
                way_out = choose(to.value, self.names, "declare it under 'stages:'")
                yield Problem(self.file, to.line, to.column, f"unknown stage '{to.value}'", way_out)

    def _starts(self) -> set[str]:
        starts = set()
        for entry in entries(self.root):
            to = entry.get("to")
            starts.add(self.names[0] if to is None else self._meant(to) or self.names[0])
        return starts or {self.names[0]}

    def reachable(self) -> set[str]:
        """The stages that somebody can come into."""
        found: set[str] = set()
        ahead = [*self._starts(), *self.anywhere.to]
        while ahead:
            stage = ahead.pop()
            if stage not in found:
                found.add(stage)
                ahead += self.ways[stage].to
        return found

    def _place(self, stage: str) -> tuple[int, int]:
        return self.stages.key_place(stage) if self.stages is not None else (1, 1)

    def _unreachable(self) -> Iterator[Problem]:
        if any(node.spoilt or self._meant(node) is None for node in self._wanted()):
            return  # a `to` that says nothing may lead anywhere
        reachable = self.reachable()
        for stage in self.names:
            if stage not in reachable:
                message = f"nobody can reach stage '{stage}': no handler goes to it"
                yield Problem(self.file, *self._place(stage), message, f"lead there with 'to: {stage}', or remove it")

    def _dead_ends(self) -> Iterator[Problem]:
        if self.anywhere.ends:
            return
        reachable = self.reachable()
        leaving = {name: {*self.ways[name].to, *self.anywhere.to} - {name} for name in self.names}
        ending = {name for name in self.names if self.ways[name].ends}
        while grown := {name for name in self.names if name not in ending and leaving[name] & ending}:
            ending |= grown
        endless = [name for name in self.names if name in reachable and name not in ending]
        dead = [name for name in endless if not leaving[name]]
        for stage in dead or endless[:1]:
            if dead:
                message = f"nobody can leave stage '{stage}': no handler goes on from it or ends the journey"
                way_out = (
                    "end the journey there ('- on arrival:' with 'end: true'), or after a time, or lead on with 'to:'"
                )
                yield Problem(self.file, *self._place(stage), message, way_out)
            else:
                message = f"from stage '{stage}' on the journey never ends"
                way_out = f"{FILLED}: add 'end: true' somewhere"
                yield Problem(self.file, *self._place(stage), message, way_out, "warning")

    def _loops(self) -> Iterator[Problem]:
        settled: set[str] = set()
        for start in self.names:
            path: list[str] = []
            yield from self._loop_from(start, path, settled)

    def _loop_from(self, start: str, path: list[str], settled: set[str]) -> Iterator[Problem]:
        ahead: list[tuple[str, Iterator[str]]] = [(start, iter(self.ways[start].arrival))]
        if start in settled:
            return
        path.append(start)
        while ahead:
            stage, following = ahead[-1]
            target = next(following, None)
            if target is None:
                settled.add(stage)
                path.pop()
                ahead.pop()
            elif target in path:
                node = self.ways[stage].arrival[target]
                circle = " -> ".join([*path[path.index(target) :], target])
                message = f"a loop without time: {circle}, each on arrival"
                way_out = "let one of them wait for an event ('when:') or a time ('after:')"
                yield Problem(self.file, node.line, node.column, message, way_out)
            elif target not in settled:
                path.append(target)
                ahead.append((target, iter(self.ways[target].arrival)))

    def _short_turns(self) -> Iterator[Problem]:
        """Loops that nothing but a short time keeps going, each told once."""
        told: set[str] = set()
        for start in self.names:
            if start in told or not self.ways[start].pauses:
                continue
            turn, circle = self._turn(start)
            if turn < LEAST_TURN:
                told.update(circle)
                node = self.ways[start].pauses.get(circle[1]) or min(self.ways[start].pauses.values(), key=_time)
                message = f"a loop of {turn // 1000} s by nothing but time: {' -> '.join(circle)}"
                way_out = "let it take a minute at least, or let one of them wait for an event ('when:')"
                yield Problem(self.file, node[1].line, node[1].column, message, way_out)

    def _turn(self, start: str) -> tuple[int, list[str]]:
        """The shortest time (ms) from a stage back to it without any event, and the stages on that way."""
        ahead: list[tuple[int, list[str]]] = [(0, [start])]
        passed: set[str] = set()
        while ahead:
            time, path = heappop(ahead)
            stage = path[-1]
            if time >= LEAST_TURN or (stage == start and time):
                return time, path
            if stage in passed:
                continue
            if stage != start:
                passed.add(stage)
            way = self.ways[stage]
            steps = dict.fromkeys(way.arrival, 0) | {target: pause for target, (pause, _) in way.pauses.items()}
            for target, pause in steps.items():
                if target != start or time + pause:
                    heappush(ahead, (time + pause, [*path, target]))
        return LEAST_TURN, []

    def _many_timers(self) -> Iterator[Problem]:
        for name in self.names:
            timers = self.ways[name].timers
            if len(timers) > MAX_TIMERS:
                node = timers[MAX_TIMERS]
                message = f"stage '{name}' has {len(timers)} timers, and a stage bears {MAX_TIMERS}"
                yield Problem(
                    self.file, node.line, node.column, message, "spread them over stages that follow each other"
                )

    def _shadowed(self) -> Iterator[Problem]:
        """Handlers that never run, because one before them takes every such event."""
        taken: dict[tuple[str | None, str], int] = {}
        for stage, _, handler in handlers(self.root):
            when = handler.get("when")
            names = [] if when is None else when.items if when.kind == "list" else [when]
            types = [node.value for node in names if isinstance(node.value, str)]
            if "on arrival" in handler.fields:
                types = ["on arrival"]
            types += [f"{key} {name}" for key in ("at risk", "broken") if (name := handler.text(key)) is not None]
            lines = [taken[stage, each] for each in types if (stage, each) in taken]
            if types and len(lines) == len(types):
                what = "ends or moves on every arrival" if types == ["on arrival"] else f"takes every '{types[0]}'"
                message = f"this handler never runs: the one in line {lines[0]} {what}"
                way_out = "put this one before it, give that one an 'if', or join them"
                yield Problem(self.file, handler.line, handler.column, message, way_out)
            if "if" not in handler.fields and (types != ["on arrival"] or handler.get("to") or handler.get("end")):
                for each in types:
                    taken.setdefault((stage, each), handler.line)


def _time(pause: tuple[int, Node]) -> int:
    return pause[0]
