#!/usr/bin/python3
"""Asks an Optuna study for trials and tells them, one after the other: the peer of
ask_tell_bench, with the same choices, objectives and strategy.

  peer_optuna_ask_tell.py --storage sqlite:////tmp/optuna.db --seconds 30

Stops after so many trials or seconds and prints a line for each window of trials,
like ask_tell_bench.
"""
import argparse
import math
import time
import warnings

import optuna

CHOICES = 6


def evaluate(choices, options):
    """ZDT1 on a grid, as ask_tell_bench has it."""
    f1 = choices[0] / (options - 1)
    g = 1 + 9 * sum(choices[1:]) / (options - 1) / (CHOICES - 1)
    return f1, g * (1 - math.sqrt(f1 / g))


def quantile(values, q):
    return sorted(values)[int(q * (len(values) - 1))] * 1000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--trials", type=int, default=100000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--options", type=int, default=32)
    parser.add_argument("--population", type=int, default=50)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore")

    study = optuna.create_study(
        storage=arguments.storage, directions=["minimize"] * 2,
        sampler=optuna.samplers.NSGAIISampler(seed=1, population_size=arguments.population))
    names = [f"x{i}" for i in range(CHOICES)]
    options = list(range(arguments.options))
    begin = window_begin = time.monotonic()
    printed, asks, tells = 0, [], []
    for done in range(1, arguments.trials + 1):
        at = time.monotonic()
        trial = study.ask()
        choices = [trial.suggest_categorical(name, options) for name in names]
        asked = time.monotonic()
        study.tell(trial, evaluate(choices, arguments.options))
        told = time.monotonic()
        asks.append(asked - at)
        tells.append(told - asked)
        over = told - begin >= arguments.seconds
        if done % arguments.window == 0 or over or done == arguments.trials:
            print(f"trials={done} ask_tell_per_s={(done - printed) / (told - window_begin):.2f} "
                  f"ask_p50_ms={quantile(asks, 0.5):.3f} ask_p99_ms={quantile(asks, 0.99):.3f} "
                  f"tell_p50_ms={quantile(tells, 0.5):.3f} tell_p99_ms={quantile(tells, 0.99):.3f}",
                  flush=True)
            printed, window_begin, asks, tells = done, time.monotonic(), [], []
        if over:
            break


if __name__ == "__main__":
    main()
