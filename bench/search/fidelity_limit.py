#!/usr/bin/python3
"""How few whole trainings could do on NAS-Bench-201 (CIFAR-100, Raspberry Pi 5).

If all different networks had been trained for 12 epochs at no cost, and a
straight line from those values to the ones after 200 epochs were known: which
share of the true hypervolume would rounds of whole trainings miss, each chosen
by the expected improvement of the hypervolume?

  bench/search/fidelity_limit.py DIR     (the folder of the tables)
"""
import csv
import gzip
import sys

import numpy as np

HYPERVOLUME = 922.138992302  # oracles.csv: nb201_cifar100_pi5_litert_2obj.
LATENCY_REFERENCE_MS = 13.3674875
ROUND = 8  # Workers.


def column(path, name, kind=float):
    with gzip.open(path, "rt") as file:
        return np.array([kind(row[name]) for row in csv.DictReader(file)])


def front(latency, accuracy, members):
    """(latency, accuracy) of the non-dominated members, ascending."""
    steps, best = [], 0.0
    for i in sorted(members, key=lambda i: (latency[i], -accuracy[i])):
        if latency[i] < LATENCY_REFERENCE_MS and accuracy[i] > best:
            best = accuracy[i]
            steps.append((latency[i], best))
    return steps


def widths(steps):
    ends = [step[0] for step in steps[1:]] + [LATENCY_REFERENCE_MS]
    return [(begin, end, level) for (begin, level), end in zip(steps, ends)]


def expected_gain(latency, mean, deviation, steps):
    """For each network; the deviation is that of the line."""
    gain = np.zeros(len(latency))
    for begin, end, level in widths([(0.0, 0.0)] + steps):
        z = (mean - level) / deviation
        # The normal distribution function, to 3e-4.
        below = 0.5 * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))
        improvement = deviation * (z * below + np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
        gain += improvement * np.maximum(0, end - np.maximum(begin, latency))
    return gain


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = sys.argv[1] + "/nasbench201/"
    different = np.unique(column(folder + "cells.csv.gz", "rep_arch_idx", int))
    low = column(folder + "accuracy.csv.gz", "cifar100_test_12ep")[different]
    full = column(folder + "accuracy.csv.gz", "cifar100_test_200ep")[different]
    hours = column(folder + "accuracy.csv.gz", "train_s_per_epoch_cifar")[different] * 200 / 3600
    latency = column(folder + "latency_energy_pi5.csv.gz", "pi5_litert_cifar100_latency_ms")[different]
    predicted = np.polyval(np.polyfit(low, full, 1), low)
    print(f"{len(different)} networks; a whole training takes {hours.mean():.2f} h, at most {hours.max():.2f} h")
    print("deviation,whole_trainings,missed_percent,worker_hours")
    for deviation in (0.5, 1.0, 2.0):
        trained = []
        for _ in range(4):
            believed = predicted.copy()
            believed[trained] = full[trained]
            for _ in range(ROUND):
                gain = expected_gain(latency, predicted, deviation, front(latency, believed, trained))
                gain[trained] = -1
                trained.append(int(np.argmax(gain)))
            area = sum((end - begin) * level for begin, end, level in widths(front(latency, full, trained)))
            print(f"{deviation},{len(trained)},{100 * (1 - area / HYPERVOLUME):.2f},{hours[trained].sum():.1f}")


main()
