#!/usr/bin/python3
"""How long Optuna takes for one suggestion and its result: 20 decisions of 5 options, two
objectives (ZDT1 on a grid), so many trials observed before. The same as
suggest_time.cc does with our strategies, whose table this continues: processor
time, median and 90th percentile.

  bench/search/peer_suggest_time.py [OBSERVED [SUGGESTIONS]]
"""
import math
import random
import statistics
import sys
import time
import warnings

import optuna

DECISIONS, OPTIONS = 20, 5
SAMPLERS = {
    "optuna_random": lambda: optuna.samplers.RandomSampler(seed=1),
    "optuna_nsga2": lambda: optuna.samplers.NSGAIISampler(seed=1),
    "optuna_tpe": lambda: optuna.samplers.TPESampler(seed=1, multivariate=True),
}
LABELS = {"optuna_random": "Optuna random", "optuna_nsga2": "Optuna NSGA-II", "optuna_tpe": "Optuna TPE"}


def grid_zdt1(x):
    unit = [v / (OPTIONS - 1) for v in x]
    g = 1 + 9 * sum(unit[1:]) / (DECISIONS - 1)
    return unit[0], g * (1 - math.sqrt(unit[0] / g))


def ask(study):
    trial = study.ask()
    return trial, [trial.suggest_categorical(f"x{i}", list(range(OPTIONS))) for i in range(DECISIONS)]


def main():
    observed = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    suggestions = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rng = random.Random(1)
    for name, sampler in SAMPLERS.items():
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler())
        if name == "optuna_tpe":  # Learns from any trials; asking for all of them takes long.
            distribution = optuna.distributions.CategoricalDistribution(list(range(OPTIONS)))
            for _ in range(observed):
                x = [rng.randrange(OPTIONS) for _ in range(DECISIONS)]
                study.add_trial(optuna.trial.create_trial(
                    params={f"x{i}": v for i, v in enumerate(x)},
                    distributions={f"x{i}": distribution for i in range(DECISIONS)}, values=grid_zdt1(x)))
        else:
            for _ in range(observed):
                trial, x = ask(study)
                study.tell(trial, grid_zdt1(x))
        times = []
        for _ in range(suggestions):
            start = time.process_time()
            trial, x = ask(study)
            study.tell(trial, grid_zdt1(x))
            times.append(1000 * (time.process_time() - start))
        print(f"| {LABELS[name]} | {statistics.median(times):.3g} | {sorted(times)[int(0.9 * len(times))]:.3g} |",
              flush=True)


main()
