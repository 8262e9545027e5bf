#!/usr/bin/python3
"""Searches an exported problem with one of Optuna's samplers, once for each seed.

The problem is a file that `search_export` wrote; every decision is a categorical
parameter. Appends one line for each seed to the trace file (see
bench/search/peer_problem.h) and skips the seeds that it holds already, so an
interrupted run goes on where it stopped.
"""
import argparse
import os
import sys
import time
import warnings

import numpy as np
import optuna

# Raised when a change makes other traces.
VERSION = 1

# What a user gets who names the sampler and sets nothing, but for `multivariate`.
SAMPLERS = {
    "optuna_random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "optuna_nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),  # Population 50.
    "optuna_nsga2_20": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
    "optuna_tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
}


class Problem:
    """The rows of a table: choices, objective values to minimise, and class."""

    def __init__(self, path):
        self.names, self.options = [], []
        rows, keys, choices, values = [], [], [], []
        with open(path, encoding="utf-8") as file:
            for line in file:
                tag, *cells = line.rstrip("\n").split(",")
                if tag == "problem":
                    self.id = cells[0]
                elif tag == "objectives":
                    self.objectives = int(cells[0])
                elif tag == "decision":
                    self.names.append(cells[0])
                    self.options.append(len(cells) - 1)
                elif tag == "row":
                    n = len(self.names)
                    rows.append(int(cells[0]))
                    keys.append(int(cells[1]))
                    choices.append([int(c) for c in cells[2:2 + n]])
                    values.append(tuple(float(v) for v in cells[2 + n:]))
        self.rows, self.keys, self.values = rows, keys, values
        self.choices = np.array(choices, dtype=np.int16)
        self.index = {}
        for i, row in enumerate(choices):
            self.index.setdefault(tuple(row), i)

    def find(self, choices):
        """Index of the row with these choices, else of the nearest by Hamming
        distance, the first of several."""
        found = self.index.get(tuple(choices))
        if found is None:
            found = int(np.argmin((self.choices != np.array(choices)).sum(axis=1)))
        return found


def search(problem, sampler, seed, evaluations, suggestions):
    """Indices of the rows evaluated, in order: `evaluations` different ones, or
    as many as `suggestions` found."""
    study = optuna.create_study(directions=["minimize"] * problem.objectives,
                                sampler=SAMPLERS[sampler](seed))
    names = [(name, list(range(n))) for name, n in zip(problem.names, problem.options)]
    trace, seen = [], set()
    while len(trace) < evaluations or (len(seen) < evaluations and len(trace) < suggestions):
        trial = study.ask()
        i = problem.find([trial.suggest_categorical(name, options) for name, options in names])
        study.tell(trial, problem.values[i])
        trace.append(i)
        seen.add(problem.keys[i])
    return trace


def finished_seeds(path):
    seeds = set()
    if os.path.exists(path):
        with open(path, "r+", encoding="utf-8") as file:
            text = file.read()
            whole = text.rfind("\n") + 1
            file.truncate(len(text[:whole].encode()))  # A line cut off by a crash.
            for line in text[:whole].splitlines():
                seeds.add(int(line.split(",")[2]))
    return seeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"{VERSION}, optuna {optuna.__version__}",
                        help="what decides whether kept traces still hold")
    parser.add_argument("--problem", required=True, help="file written by search_export")
    parser.add_argument("--sampler", required=True, choices=sorted(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=20, help="runs seeds 1 to this (default 20)")
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--suggestions", type=int, default=1000,
                        help="at most so many in all, to find that many different ones (default 1000)")
    parser.add_argument("--plain", action="store_true", help="without optuna_quicker")
    parser.add_argument("--out", required=True, help="trace file to append to")
    flags = parser.parse_args()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not flags.plain:
        import optuna_quicker  # noqa: F401, replaces functions of Optuna
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    problem = Problem(flags.problem)
    done = finished_seeds(flags.out)
    for seed in range(1, flags.seeds + 1):
        if seed in done:
            continue
        start = time.process_time()
        trace = search(problem, flags.sampler, seed, flags.evaluations, flags.suggestions)
        with open(flags.out, "a", encoding="utf-8") as out:
            out.write(f"{flags.sampler},{problem.id},{seed},{' '.join(str(problem.rows[i]) for i in trace)}\n")
        print(f"{flags.sampler} {problem.id} seed {seed}: {len(trace)} suggestions, "
              f"{len({problem.keys[i] for i in trace})} different, "
              f"{time.process_time() - start:.1f} s", file=sys.stderr, flush=True)


main()
