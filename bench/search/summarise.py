#!/usr/bin/env python3
"""Turns results of searches into docs/search-benchmark.md and its plots.

Reads CSV files with the lines `strategy,problem,seed,evaluations,regret`: the
regret from that number of evaluations on, until the next line of the run.
"""
import argparse
import bisect
import collections
import csv
import math
import pathlib
import sys

CHECKPOINTS = [25, 50, 100, 150, 200, 300, 500]
TARGET = 0.01  # The regret whose price in evaluations is reported.
# Regrets below are taken for it in geometric means: no figure hangs on the last
# hundredth of a percent, nor on a single zero.
FLOOR = 1e-4

# Peers in the order in which they are shown; everything else is ours.
PEERS = {
    "optuna_nsga2": "Optuna NSGA-II",
    "optuna_nsga2_20": "Optuna NSGA-II, population 20",
    "optuna_tpe": "Optuna TPE",
    "pagmo_nsga2": "pagmo2 NSGA-II",
    "pagmo_moead": "pagmo2 MOEA/D",
}
FREE = "+free_repeats"
COLOURS = {
    "auto": "#c1121f", "random": "#777777",
    "optuna_nsga2": "#0072b2", "optuna_nsga2_20": "#56b4e9", "optuna_tpe": "#009e73",
    "pagmo_nsga2": "#cc79a7", "pagmo_moead": "#e69f00",
}
OTHER_COLOURS = ["#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c510a", "#5e3c99",
                 "#1b7837", "#d6604d", "#4d4d4d"]


def label(strategy):
    base = strategy.removesuffix(FREE)
    return PEERS.get(base, base) + (", repeats free" if strategy.endswith(FREE) else "")


def is_peer(strategy):
    return strategy.removesuffix(FREE) in PEERS


def quantile(values, q):
    """Linear interpolation between the order statistics."""
    values = sorted(values)
    position = q * (len(values) - 1)
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return values[low] if values[low] == values[high] else (
        values[low] + (position - low) * (values[high] - values[low]))


class Run:
    """The regret of one search as a function of its evaluations."""

    def __init__(self):
        self.evaluations, self.regrets = [], []

    def add(self, evaluations, regret):
        self.evaluations.append(evaluations)
        self.regrets.append(regret)

    def at(self, evaluations):
        i = bisect.bisect_right(self.evaluations, evaluations)
        return self.regrets[i - 1] if i else 1.0

    def length(self):
        return self.evaluations[-1] if self.evaluations else 0

    def needed_for(self, regret):
        for evaluations, value in zip(self.evaluations, self.regrets):
            if value <= regret:
                return evaluations
        return math.inf


def read(paths, seeds):
    """{problem: {strategy: {seed: Run}}} of the first seeds."""
    results = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(Run)))
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                try:
                    if int(row["seed"]) > seeds:
                        continue
                    results[row["problem"]][row["strategy"]][int(row["seed"])].add(
                        int(row["evaluations"]), float(row["regret"]))
                except (KeyError, TypeError, ValueError):
                    sys.exit(f"{path}:{line}: expected strategy,problem,seed,evaluations,regret")
    return results


def order(strategies):
    """`auto`, then random, ours by name, and the peers."""
    def rank(strategy):
        base = strategy.removesuffix(FREE)
        free = strategy.endswith(FREE)
        if base in PEERS:
            return (3 + free, list(PEERS).index(base), "")
        return ({"auto": 0, "random": 1}.get(base, 2), 0, strategy)
    return sorted(strategies, key=rank)


def percent(value):
    if value == 0:
        return "0"
    return f"{100 * value:.2f}" if value < 0.0995 else f"{100 * value:.1f}"


def count(value):
    return "> 500" if math.isinf(value) else f"{value:.0f}"


def geometric_mean(values):
    return math.exp(sum(math.log(max(v, FLOOR)) for v in values) / len(values))


def went_on_to(runs, evaluations):
    """Whether most of a peer's searches, had repeats been free, made so many
    evaluations. Others that end early have seen all that there is."""
    return quantile([run.length() for run in runs.values()], 0.5) >= evaluations


def has(results, strategy, problems, evaluations):
    return not strategy.endswith(FREE) or all(
        went_on_to(results[p][strategy], evaluations) for p in problems)


def medians(results, strategy, problems, evaluations):
    return [quantile([run.at(evaluations) for run in results[p][strategy].values()], 0.5) for p in problems]


def summary(results, problems, strategies):
    out = ["| strategy | " + " | ".join(str(c) for c in CHECKPOINTS) + " |",
           "|---|" + "---|" * len(CHECKPOINTS)]
    for s in strategies:
        cells = [percent(geometric_mean(medians(results, s, problems, c))) if has(results, s, problems, c) else "–"
                 for c in CHECKPOINTS]
        name = label(s)
        out.append(f"| {'**' + name + '**' if s == 'auto' else name} | " + " | ".join(cells) + " |")
    return out


def behind(results, problems):
    """Where the median of `auto` is worse than random search's: (problem, checkpoint)."""
    if any(s not in results[p] for p in problems for s in ("auto", "random")):
        return []
    return [(p, c) for p in problems for c in CHECKPOINTS
            if medians(results, "auto", [p], c)[0] > medians(results, "random", [p], c)[0]]


def against_random(results, problem, evaluations):
    """Both medians, and of how many searches."""
    ours, theirs = (percent(medians(results, s, [problem], evaluations)[0]) for s in ("auto", "random"))
    return f"{ours} against {theirs} with {len(results[problem]['auto'])} seeds"


def compared(results, again, problems, strategies):
    """What the figures say of `auto`."""
    if "auto" not in strategies:
        return []
    out = []
    peers = [s for s in strategies if is_peer(s)]
    for kind, group in [("", [s for s in peers if not s.endswith(FREE)]),
                        (" with repeats free", [s for s in peers if s.endswith(FREE)])]:
        if not group:
            continue
        for c in (100, 200):
            known = [s for s in group if has(results, s, problems, c)]
            if not known:
                continue
            ours = geometric_mean(medians(results, "auto", problems, c))
            values = {s: geometric_mean(medians(results, s, problems, c)) for s in known}
            best = min(values, key=values.get)
            each = geometric_mean([min(column) for column in zip(
                *(medians(results, s, problems, c) for s in known))])
            out.append(f"- At {c} evaluations `auto` misses {ours / values[best]:.2f} times what the best peer"
                       f"{kind} misses ({label(best).split(',')[0]}), and {ours / each:.2f} times what the best peer of each "
                       "problem misses.")
    if "random" in strategies:
        worse = [f"`{p}` at {c} ({against_random(results, p, c)}"
                 + (f", {against_random(again, p, c)}" if p in again else "") + ")"
                 for p, c in behind(results, problems)]
        out.append("- " + ("`auto` is worse than random search nowhere." if not worse else
                           "`auto` is worse than random search on " + ", ".join(worse) + "."))
    return out


def table(runs, strategies):
    out = ["| strategy | " + " | ".join(str(c) for c in CHECKPOINTS) + " | to 1 % |",
           "|---|" + "---|" * (len(CHECKPOINTS) + 1)]
    for s in strategies:
        if s not in runs:
            continue
        cells = []
        for c in CHECKPOINTS:
            if s.endswith(FREE) and not went_on_to(runs[s], c):
                cells.append("–")
                continue
            values = [run.at(c) for run in runs[s].values()]
            cells.append(f"{percent(quantile(values, 0.5))} ({percent(quantile(values, 0.9))})")
        needed = quantile([run.needed_for(TARGET) for run in runs[s].values()], 0.5)
        name = label(s)
        out.append(f"| {'**' + name + '**' if s == 'auto' else name} | " + " | ".join(cells)
                   + f" | {count(needed)} |")
    return out


class Chart:
    """Small multiples of regret over evaluations, as SVG."""

    WIDTH, HEIGHT, COLUMNS = 300, 220, 3
    LEFT, RIGHT, TOP, BOTTOM = 46, 10, 24, 30
    LOW, HIGH = 3e-4, 0.3

    def __init__(self, results, problems, strategies):
        self.results, self.problems = results, problems
        self.strategies = strategies
        others = iter(OTHER_COLOURS * 3)
        self.colour = {s: COLOURS.get(s) or next(others) for s in strategies}

    def x(self, evaluations):
        span = self.WIDTH - self.LEFT - self.RIGHT
        return self.LEFT + span * evaluations / CHECKPOINTS[-1]

    def y(self, regret):
        span = self.HEIGHT - self.TOP - self.BOTTOM
        clipped = min(max(regret, self.LOW), self.HIGH)
        return self.TOP + span * math.log(self.HIGH / clipped) / math.log(self.HIGH / self.LOW)

    def path(self, points):
        return "M" + "L".join(f"{self.x(n):.1f} {self.y(r):.1f}" for n, r in points)

    def panel(self, problem):
        out = [f'<text class="title" x="{self.LEFT}" y="16">{problem}</text>']
        for value, text in [(0.1, "10 %"), (0.03, "3 %"), (0.01, "1 %"), (0.003, "0.3 %"), (0.001, "0.1 %")]:
            y = self.y(value)
            out.append(f'<path class="grid" d="M{self.LEFT} {y:.1f}H{self.WIDTH - self.RIGHT}"/>'
                       f'<text class="tick" text-anchor="end" x="{self.LEFT - 5}" y="{y + 3.5:.1f}">{text}</text>')
        for n in range(0, CHECKPOINTS[-1] + 1, 100):
            out.append(f'<text class="tick" text-anchor="middle" x="{self.x(n):.1f}" '
                       f'y="{self.HEIGHT - self.BOTTOM + 14}">{n}</text>')
        steps = list(range(10, CHECKPOINTS[-1] + 1, 10))
        runs = self.results[problem]
        # `auto` comes last, on top.
        for s in reversed(self.strategies):
            if s not in runs:
                continue
            at = {n: [run.at(n) for run in runs[s].values()] for n in steps}
            if s == "auto":
                upper = [(n, quantile(at[n], 0.9)) for n in steps]
                lower = [(n, quantile(at[n], 0.1)) for n in reversed(steps)]
                out.append(f'<path fill="{self.colour[s]}" fill-opacity="0.14" d="{self.path(upper + lower)}Z"/>')
            style = ' stroke-width="2.4"' if s == "auto" else ' stroke-dasharray="5 2"' if is_peer(s) else ""
            out.append(f'<path class="line" stroke="{self.colour[s]}"{style} '
                       f'd="{self.path([(n, quantile(at[n], 0.5)) for n in steps])}"/>')
        return out

    def render(self):
        rows = -(-len(self.problems) // self.COLUMNS)
        per_row = 4
        legend = 20 * -(-len(self.strategies) // per_row) + 8
        width, height = self.WIDTH * self.COLUMNS, self.HEIGHT * rows + legend
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
               f'width="{width}" height="{height}" role="img" '
               'aria-label="Median regret over evaluations, for each problem and strategy">',
               '<style>text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.tick{font-size:10px;fill:#666}'
               '.grid{stroke:#ddd;fill:none}.line{fill:none;stroke-width:1.3;stroke-linejoin:round}</style>',
               f'<rect width="{width}" height="{height}" fill="#fff"/>']
        for i, s in enumerate(self.strategies):
            x, y = 12 + (i % per_row) * (width - 24) / per_row, 16 + 20 * (i // per_row)
            style = ' stroke-width="2.4"' if s == "auto" else ' stroke-dasharray="5 2"' if is_peer(s) else ""
            out.append(f'<path class="line" stroke="{self.colour[s]}"{style} d="M{x:.0f} {y - 4}h24"/>'
                       f'<text x="{x + 30:.0f}" y="{y}">{label(s)}</text>')
        for i, problem in enumerate(self.problems):
            out.append(f'<g transform="translate({self.WIDTH * (i % self.COLUMNS)} '
                       f'{legend + self.HEIGHT * (i // self.COLUMNS)})">')
            out += self.panel(problem)
            out.append("</g>")
        return "\n".join(out) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=pathlib.Path, help="CSV files")
    parser.add_argument("--problems", help="in this order, comma separated (default: all)")
    parser.add_argument("--seeds", type=int, default=20, help="leave out later seeds (default 20)")
    parser.add_argument("--behind", action="store_true",
                        help="only print where `auto` is worse than random search: problem,evaluations")
    parser.add_argument("--again", type=pathlib.Path, nargs="*", default=[],
                        help="CSV files of `auto` and random search with more seeds, for where it is")
    parser.add_argument("--held-out", default="", help="problems that nobody tunes on")
    parser.add_argument("--intro", type=pathlib.Path, help="Markdown to begin with")
    parser.add_argument("--also", type=pathlib.Path, nargs="*", default=[],
                        help="Markdown to put before the tables of each problem")
    parser.add_argument("--out", type=pathlib.Path, help="the page; plots go to a folder beside it")
    flags = parser.parse_args()

    results = read(flags.results, flags.seeds)
    problems = [p for p in flags.problems.split(",") if p in results] if flags.problems else sorted(results)
    if flags.behind:
        print("\n".join(f"{p},{c}" for p, c in behind(results, problems)))
        return
    if flags.out is None:
        parser.error("--out is required")
    again = read(flags.again, math.inf)
    held_out = set(flags.held_out.split(",")) - {""}
    present = set.intersection(*(set(results[p]) for p in problems))
    everywhere = order(present)
    strategies = order(set.union(*(set(results[p]) for p in problems)))
    seeds = {len(runs) for p in problems for runs in results[p].values()}

    page = [flags.intro.read_text().rstrip(), ""] if flags.intro else []
    page += ["## Over all problems", "",
             f"Geometric mean, over the {len(problems)} problems, of the median regret in percent; a regret below "
             f"{percent(FLOOR)} counts as {percent(FLOOR)}.", ""]
    page += summary(results, problems, everywhere) + [""]
    partly = [f"`{label(s)}`" for s in strategies if s not in everywhere]
    if partly:
        page += [f"Not on all problems, and so not in this table: {', '.join(partly)}.", ""]
    said = compared(results, again, problems, everywhere)
    page += said + ([""] if said else [])
    plots = flags.out.parent / flags.out.stem
    plots.mkdir(parents=True, exist_ok=True)
    charts = [("peers", "`auto` beside random search and the peers",
               [s for s in strategies if s in ("auto", "random") or (is_peer(s) and not s.endswith(FREE))]),
              ("ours", "all strategies of hwnas", [s for s in strategies if not is_peer(s)])]
    for name, title, chosen in charts:
        if len(chosen) > 1:
            (plots / f"{name}.svg").write_text(Chart(results, problems, chosen).render())
            page += [f"Median regret, {title} (band: 10th to 90th percentile of `auto`):", "",
                     f"![Median regret over evaluations: {title}]({plots.name}/{name}.svg)", ""]
    for path in flags.also:
        page += [path.read_text().rstrip(), ""]
    page += ["## Each problem", "",
             f"Regret in percent: median (90th percentile) of {' or '.join(str(n) for n in sorted(seeds))} seeds, "
             "after so many evaluations; and the median number of evaluations to a regret of 1 %.", ""]
    for p in problems:
        page += [f"### {p}", ""]
        if p in held_out:
            page += ["Held out: nothing was tuned on it.", ""]
        page += table(results[p], strategies) + [""]
    flags.out.write_text("\n".join(page).rstrip() + "\n")


main()
