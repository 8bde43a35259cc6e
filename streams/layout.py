"""Places boxes in columns and leads lines between them: a layered layout (Sugiyama, Tagawa, Toda 1981) with ports.

A line leaves its box at the height of its port and enters the target at the height of its head, from the left if it
leads on, from the right if it leads back or stays in its column. Lines to the same target from the same side are one
*net*: they join on their way, so that a target asked for by thirty ports has one line through each column. Columns are
the longest way along the order of the boxes. The same boxes give the same layout: no chance, no clock.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import floor
from typing import Final

APART: Final = 26.0  # between two boxes of a column
LANE_APART: Final = 16.0  # between a line that passes through a column and its neighbours
TRACK: Final = 14.0  # between two upright lines
GUTTER: Final = 22.0  # between a box and the first upright line: room for an arrow's head
SWEEPS: Final = 16
SETTLING: Final = 6  # of the sweeps, the last ones, which no longer change the order
CROSSING: Final = 40.0  # a crossing is as bad as a line this much longer
PASSES: Final = 8  # of moving upright lines past each other
SLIGHT: Final = 40.0  # a bend that is worth no corner
NEAR: Final = 5.0  # closer than this, two lines look like one


@dataclass(frozen=True, slots=True)
class Port:
    """Where a line leaves its box: `y` from the box's top; the key of the box it leads to."""

    y: float
    target: str


@dataclass(frozen=True, slots=True)
class Box:
    """What is placed. Lines enter at `head` below its top.

    `first` boxes stand in the first column by themselves; those `anywhere`, too, and they say nothing of progress.
    """

    key: str
    width: float
    height: float
    head: float
    ports: tuple[Port, ...] = ()
    first: bool = False
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box stands; as wide as its column."""

    x: float
    y: float
    width: float
    height: float
    column: int


@dataclass(frozen=True, slots=True)
class Route:
    """The line from a port (its number in the box) to its target: the points at which it bends, ends included."""

    source: str
    port: int
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All places and routes. Routes that join follow each other in the same list."""

    width: float
    height: float
    places: dict[str, Place]
    nets: list[list[Route]]


@dataclass(slots=True)
class _Net:
    """Lines to one target from one side; the columns it passes through."""

    target: str
    back: bool
    sources: list[tuple[str, int]] = field(default_factory=list)
    through: range = range(0)


@dataclass(slots=True)
class _Node:
    """A box, or the place of a net in a column that it passes through. `y` is the top."""

    name: object
    height: float
    lane: bool
    weight: float
    y: float = 0.0
    left: list[tuple[_Node, float, float]] = field(default_factory=list)  # a neighbour, its offset, the own offset
    right: list[tuple[_Node, float, float]] = field(default_factory=list)


@dataclass(slots=True)
class _Gap:
    """One net between two columns: the heights at which it meets the left one and the right one."""

    left: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    @property
    def low(self) -> float:
        return min(self.left + self.right)

    @property
    def high(self) -> float:
        return max(self.left + self.right)


def layout(boxes: list[Box]) -> Layout:
    """Place boxes, given in their order, and lead their lines."""
    return _Layouter(boxes).result()


def columns(boxes: list[Box]) -> dict[str, int]:
    """The column of each box: 0 for the first ones, else one more than the furthest box before it that leads to it.

    A box that none before it leads to comes after the one before it, unless a first box names it. One that leads
    nowhere is an end, and stands in the last column.
    """
    order = {box.key: number for number, box in enumerate(boxes)}
    led: dict[str, list[str]] = defaultdict(list)
    for box in boxes:
        for port in box.ports:
            if not (box.first or box.anywhere) and order[port.target] > order[box.key]:
                led[port.target].append(box.key)
    begun = {port.target for box in boxes if box.first for port in box.ports}
    found: dict[str, int] = {}
    before = 0
    for box in boxes:
        if box.first or box.anywhere:
            found[box.key] = 0
            continue
        ahead = [found[key] for key in led[box.key]]
        alone = before + bool(box.ports) if before else 1
        before = found[box.key] = 1 + max(ahead) if ahead else 1 if box.key in begun else alone
    last = max(found.values(), default=0)
    ends = {box.key: last for box in boxes if not box.ports and found[box.key] > 1}
    return found | ends


class _Layouter:
    """The steps of one layout, each using what the one before it left."""

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = {box.key: box for box in boxes}
        self.column = columns(boxes)
        self.count = max(self.column.values(), default=0) + 1
        self.nets = self._join()
        self.nodes: list[list[_Node]] = [[] for _ in range(self.count)]
        self.of: dict[object, _Node] = {}
        self._populate(boxes)
        self._settle()

    def _join(self) -> list[_Net]:
        nets: dict[tuple[str, bool], _Net] = {}
        for box in self.boxes.values():
            for number, port in enumerate(box.ports):
                back = self.column[box.key] >= self.column[port.target]
                net = nets.setdefault((port.target, back), _Net(port.target, back))
                net.sources.append((box.key, number))
        for net in nets.values():
            at = [self.column[source] for source, _ in net.sources]
            target = self.column[net.target]
            net.through = range(target + 1, max(at)) if net.back else range(min(at) + 1, target)
        return list(nets.values())

    def _populate(self, boxes: list[Box]) -> None:
        for box in boxes:
            self._add(box.key, self.column[box.key], _Node(box.key, box.height, lane=False, weight=1.0))
        for number, net in enumerate(self.nets):
            for column in net.through:
                # A line that bends in every column is worse than a box a little off.
                self._add((number, column), column, _Node((number, column), 0.0, lane=True, weight=2.0))
        for nodes in self.nodes:
            for node, y in zip(nodes, _stacked(nodes), strict=True):
                node.y = y
        for number, net in enumerate(self.nets):
            self._link(number, net)

    def _add(self, name: object, column: int, node: _Node) -> None:
        self.of[name] = node
        self.nodes[column].append(node)

    def _link(self, number: int, net: _Net) -> None:
        def tie(left: _Node, left_at: float, right: _Node, right_at: float) -> None:
            left.right.append((right, right_at, left_at))
            right.left.append((left, left_at, right_at))

        head = self.boxes[net.target].head
        end = self.of[net.target]
        for source, port in net.sources:
            box, column = self.boxes[source], self.column[source]
            at, node = box.ports[port].y, self.of[source]
            if column == self.column[net.target]:
                continue
            following = self.of.get((number, column - 1 if net.back else column + 1), end)
            offset = 0.0 if following.lane else head
            if net.back:
                tie(following, offset, node, at)
            else:
                tie(node, at, following, offset)
        for column in net.through:
            node = self.of[number, column]
            following = self.of.get((number, column - 1 if net.back else column + 1), end)
            offset = 0.0 if following.lane else head
            if net.back:
                tie(following, offset, node, 0.0)
            else:
                tie(node, 0.0, following, offset)

    def _settle(self) -> None:
        """Order and place the nodes of each column after their neighbours, back and forth; the best sweep stays."""
        best = self._cost()
        kept = [[(node, node.y) for node in column] for column in self.nodes]
        for sweep in range(SWEEPS):
            onward = sweep % 2 == 0
            ordering = sweep < SWEEPS - SETTLING
            for index in range(self.count) if onward else reversed(range(self.count)):
                self._sweep(index, onward=onward, ordering=ordering)
            cost = self._cost()
            if cost < best:
                best = cost
                kept = [[(node, node.y) for node in column] for column in self.nodes]
        top = min((y for column in kept for _, y in column), default=0.0)
        for index, column in enumerate(kept):
            self.nodes[index] = [node for node, _ in column]
            for node, y in column:
                node.y = float(floor(y - top))
        for onward in (True, False):
            self._straighten(onward=onward)

    def _straighten(self, *, onward: bool) -> None:
        """A line that bends only a little between two columns goes straight on, where there is room."""
        for nodes in self.nodes if onward else reversed(self.nodes):
            above: list[_Node | None] = [None, *nodes[:-1]]
            below: list[_Node | None] = [*nodes[1:], None]
            for before, node, after in zip(above, nodes, below, strict=True):
                near = [other.y for other, _, _ in (node.left if onward else node.right) if other.lane]
                if not node.lane or not near or not 0 < abs(near[0] - node.y) <= SLIGHT:
                    continue
                free_above = before is None or near[0] - before.y >= _between(before, node)
                free_below = after is None or after.y - near[0] >= _between(node, after)
                if free_above and free_below:
                    node.y = near[0]

    def _sweep(self, index: int, *, onward: bool, ordering: bool) -> None:
        nodes = self.nodes[index]
        wanted: dict[int, float] = {}
        for node in nodes:
            near = (node.left if onward else node.right) if ordering else node.left + node.right
            near = near or node.left + node.right
            tops = [other.y + other_at - own_at for other, other_at, own_at in near]
            wanted[id(node)] = sum(tops) / len(tops) if tops else node.y
        if ordering:
            nodes.sort(key=lambda node: wanted[id(node)] + node.height / 2)
        _spread(nodes, [wanted[id(node)] for node in nodes])

    def _cost(self) -> float:
        return sum(_crossings(column) * CROSSING + _length(column) for column in self.nodes)

    # ---- coordinates

    def result(self) -> Layout:
        """The layout, with room for every upright line."""
        gaps = self._gaps()
        tracks: list[dict[int, int]] = [_tracks(gap) for gap in gaps]
        widths = [
            max((self.boxes[str(node.name)].width for node in column if not node.lane), default=0.0)
            for column in self.nodes
        ]
        lefts, x = [], 0.0
        beside: list[float] = []
        for index, wide in enumerate(widths):
            lefts.append(x)
            beside.append(x + wide + GUTTER)
            count = len(set(tracks[index].values()))
            x += wide + (2 * GUTTER + max(0, count - 1) * TRACK if gaps[index] or index + 1 < self.count else 0.0)
        places = {
            key: Place(lefts[column], self.of[key].y, widths[column], self.boxes[key].height, column)
            for key, column in self.column.items()
        }
        nets = [
            [self._route(number, net, source, port, places, tracks, beside) for source, port in net.sources]
            for number, net in enumerate(self.nets)
        ]
        lowest = max((node.y + node.height for column in self.nodes for node in column), default=0.0)
        return Layout(x, lowest, places, nets)

    def _gaps(self) -> list[dict[int, _Gap]]:
        """For each gap (the room right of a column), the nets that bend in it."""
        gaps: list[dict[int, _Gap]] = [defaultdict(_Gap) for _ in range(self.count)]
        for number, net in enumerate(self.nets):
            target = self.column[net.target]
            arrival = self.of[net.target].y + self.boxes[net.target].head
            if net.back:
                gaps[target][number].left.append(arrival)
            else:
                gaps[target - 1][number].right.append(arrival)
            for source, port in net.sources:
                column = self.column[source]
                at = self.of[source].y + self.boxes[source].ports[port].y
                if net.back and column > target:
                    gaps[column - 1][number].right.append(at)
                else:
                    gaps[column][number].left.append(at)
            for column in net.through:
                at = self.of[number, column].y
                gaps[column][number].left.append(at)
                gaps[column - 1][number].right.append(at)
        return gaps

    def _route(
        self,
        number: int,
        net: _Net,
        source: str,
        port: int,
        places: dict[str, Place],
        tracks: list[dict[int, int]],
        beside: list[float],
    ) -> Route:
        place, target = places[source], places[net.target]
        y = place.y + self.boxes[source].ports[port].y
        leftward = net.back and place.column > target.column
        points = [(place.x if leftward else place.x + place.width, y)]
        if net.back:
            passed = (
                range(place.column - 1, target.column - 1, -1) if leftward else range(place.column, place.column + 1)
            )
        else:
            passed = range(place.column, target.column)
        for gap in passed:
            x = beside[gap] + tracks[gap].get(number, 0) * TRACK
            column = gap if net.back else gap + 1
            lane = self.of.get((number, column)) if column != target.column else None
            following = lane.y if lane is not None else target.y + self.boxes[net.target].head
            points += [(x, y), (x, following)]
            y = following
        points.append((target.x + target.width if net.back else target.x, y))
        return Route(source, port, net.target, tuple(_straightened(points)))


def _between(before: _Node, node: _Node) -> float:
    """From the top of one node to the top of the next one below it, at least."""
    return before.height + (LANE_APART if before.lane or node.lane else APART)


def _stacked(nodes: list[_Node]) -> list[float]:
    """The tops of nodes in their order, as close as can be."""
    return [0.0, *accumulate(_between(before, node) for before, node in pairwise(nodes))] if nodes else []


def _spread(nodes: list[_Node], wanted: list[float]) -> None:
    """Place nodes in their order, apart, as near as can be to where they want to be (pool adjacent violators)."""
    offsets = _stacked(nodes)
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, count
    for node, want, off in zip(nodes, wanted, offsets, strict=True):
        total, weight, count = (want - off) * node.weight, node.weight, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / weight:
            more = pools.pop()
            total, weight, count = total + more[0], weight + more[1], count + more[2]
        pools.append((total, weight, count))
    level = [total / weight for total, weight, count in pools for _ in range(count)]
    for node, base, off in zip(nodes, level, offsets, strict=True):
        node.y = base + off


def _lines(column: list[_Node]) -> list[tuple[float, float]]:
    return sorted((node.y + own, other.y + at) for node in column for other, at, own in node.right)


def _crossings(column: list[_Node]) -> int:
    """How many of the lines to the next column cross."""
    seen: list[float] = []
    crossed = 0
    for _, right in _lines(column):
        crossed += len(seen) - bisect_right(seen, right)
        insort(seen, right)
    return crossed


def _length(column: list[_Node]) -> float:
    return sum(abs(left - right) for left, right in _lines(column))


def _tracks(gap: dict[int, _Gap]) -> dict[int, int]:
    """The number, from the left, of the upright line of each net in a gap; straight ones need none."""
    order = sorted((number for number, net in gap.items() if net.high > net.low), key=lambda number: gap[number].low)
    cost = {one: {other: _conflict(gap[one], gap[other]) for other in order} for one in order}
    for _ in range(PASSES):
        before = list(order)
        for each in before:
            _move(each, order, cost)
        if order == before:
            break
    return {number: at for at, number in enumerate(order)}


def _move(each: int, order: list[int], cost: dict[int, dict[int, float]]) -> None:
    """Put one of the upright lines where it is least in the way; where it is, if that is as good."""
    was = order.index(each)
    order.remove(each)
    total, totals = 0.0, [0.0]
    for other in order:
        total += cost[other][each] - cost[each][other]
        totals.append(total)
    best = min(range(len(totals)), key=lambda at: (totals[at], at != was, at))
    order.insert(best, each)


def _conflict(left: _Gap, right: _Gap) -> float:
    """How bad it is that one net bends left of another: crossings, and lines that would lie on each other."""
    crossed = sum(right.low < y < right.high for y in left.right) + sum(left.low < y < left.high for y in right.left)
    covered = sum(abs(one - other) < NEAR for one in left.right for other in right.left)
    return crossed + 100 * covered


def _straightened(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without points that lie on each other or on the line between their neighbours."""
    kept: list[tuple[float, float]] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]):
            kept.pop()
        kept.append(point)
    return kept
