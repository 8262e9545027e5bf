"""Trains the dumped network with PyTorch; prints images a second.

Usage: peer_torch.py NETWORK.json BATCH THREADS STEPS [channels_last] [cpu_time]

The images lie in memory as floats, ready made: unlike the worker, which reads
bytes, crops, mirrors and normalises them, this does nothing but train.
"""
import gzip
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

KINDS = {  # Numbers of hwnas::OpKind.
    0: "input", 1: "conv", 2: "bn", 3: "relu", 4: "relu6", 5: "hswish", 6: "hsigmoid",
    7: "sigmoid", 8: "swish", 9: "maxpool", 10: "avgpool", 11: "gap", 12: "linear", 13: "add",
    14: "mul", 15: "concat", 16: "flatten", 17: "zero", 18: "dropout"}


class Net(nn.Module):
    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes
        self.layers = nn.ModuleDict()
        for i, n in enumerate(nodes):
            kind = KINDS[n["kind"]]
            first = nodes[n["inputs"][0]] if n["inputs"] else None
            layer = None
            if kind == "conv":
                layer = nn.Conv2d(first["channels"], n["out"], n["kernel"], n["stride"], n["padding"],
                                  groups=n["groups"], bias=bool(n["bias"]))
            elif kind == "bn":
                layer = nn.BatchNorm2d(n["channels"])
            elif kind == "linear":
                layer = nn.Linear(first["channels"] * first["height"] * first["width"], n["out"],
                                  bias=bool(n["bias"]))
            elif kind == "avgpool":
                layer = nn.AvgPool2d(n["kernel"], n["stride"], n["padding"],
                                     count_include_pad=bool(n["count_include_pad"]))
            elif kind == "maxpool":
                layer = nn.MaxPool2d(n["kernel"], n["stride"], n["padding"])
            elif kind == "dropout":
                layer = nn.Dropout(n["drop"])
            else:
                layer = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish,
                         "hsigmoid": nn.Hardsigmoid, "sigmoid": nn.Sigmoid, "swish": nn.SiLU,
                         "flatten": nn.Flatten}.get(kind, lambda: None)()
                if kind == "gap":
                    layer = nn.AdaptiveAvgPool2d(1)
            if layer is not None:
                self.layers[str(i)] = layer

    def forward(self, image):
        values = []
        for i, n in enumerate(self.nodes):
            kind = KINDS[n["kind"]]
            x = [values[k] for k in n["inputs"]]
            if kind == "input":
                y = image
            elif kind == "add":
                y = sum(x[1:], x[0])
            elif kind == "mul":
                y = x[0] * x[1]
            elif kind == "concat":
                y = torch.cat(x, 1)
            elif kind == "zero":
                y = torch.zeros_like(x[0])
            elif kind == "linear":
                y = self.layers[str(i)](torch.flatten(x[0], 1))
            else:
                y = self.layers[str(i)](x[0])
            values.append(y)
        return torch.flatten(values[-1], 1)


def main():
    path, batch, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    layout = torch.channels_last if "channels_last" in sys.argv else torch.contiguous_format
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    folder = "/usr/share/datasets/fashion-mnist/"
    with gzip.open(folder + "train-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:10000]
    with gzip.open(folder + "train-labels-idx1-ubyte.gz") as f:
        labels = torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=8)[:10000].astype(np.int64))
    images = ((torch.from_numpy(images.astype(np.float32)) / 255 - 0.286) / 0.353)
    with open(path) as f:
        net = Net(json.load(f)).to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    clock = time.process_time if "cpu_time" in sys.argv else time.perf_counter
    times = []
    for _ in range(steps):
        start = clock()
        index = torch.randint(0, len(images), (batch,))
        x, y = images[index].contiguous(memory_format=layout), labels[index]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y, label_smoothing=0.1)
        loss.item()
        loss.backward()
        optimizer.step()
        times.append(clock() - start)
    times = times[len(times) // 4:]
    print(batch * len(times) / sum(times))


main()
