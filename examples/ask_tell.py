#!/usr/bin/env python3
"""Drives a study by ask and tell: hwnas proposes, this program evaluates.

Needs only python3-grpcio, python3-yaml, protobuf-compiler and
protobuf-compiler-grpc (Debian's names).
The evaluator here is a stand-in that needs no hardware: it scores an
architecture by its operators. Replace `evaluate` by your own.

Example:
  hwnas-controller --store=/tmp/hwnas-store &
  python3 examples/ask_tell.py --server 127.0.0.1:7420
"""
import argparse
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

import grpc
from google.protobuf import json_format

ROOT = pathlib.Path(__file__).resolve().parent.parent


def generate_stubs():
    """Compiles the .proto files and returns the modules that we use."""
    folder = tempfile.mkdtemp(prefix="hwnas-stubs-")
    protos = sorted(str(p) for p in (ROOT / "proto/hwnas/v1").glob("*.proto"))
    plugin = shutil.which("grpc_python_plugin")
    if not plugin or not shutil.which("protoc"):
        sys.exit("ask_tell: install protobuf-compiler and protobuf-compiler-grpc")
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_out={folder}",
                    f"--plugin=protoc-gen-grpc={plugin}", *protos], check=True)
    sys.path.insert(0, folder)
    names = ["study_pb2", "study_service_pb2", "study_service_pb2_grpc",
             "trial_service_pb2", "trial_service_pb2_grpc", "measurement_pb2"]
    return {name: importlib.import_module(f"hwnas.v1.{name}") for name in names}


# What the stand-in evaluator thinks of the operators of a cell.
SCORE = {"none": 0.0, "skip_connect": 0.6, "nor_conv_1x1": 0.8,
         "nor_conv_3x3": 1.0, "avg_pool_3x3": 0.3}
COST = {"none": 0.0, "skip_connect": 0.1, "nor_conv_1x1": 1.0,
        "nor_conv_3x3": 9.0, "avg_pool_3x3": 0.5}


def evaluate(parameters):
    """Returns the metrics of one architecture, given {decision: option}."""
    options = parameters.values()
    return {"score": sum(SCORE[o] for o in options) / len(parameters),
            "cost": sum(COST[o] for o in options)}


def read_study(path):
    import yaml
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:7420", help="host:port of hwnas-controller (default: %(default)s)")
    parser.add_argument("--study", default=str(ROOT / "examples/ask_tell.yaml"), help="study file with `external` (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="trials asked for at once (default: %(default)s)")
    options = parser.parse_args()

    stubs = generate_stubs()
    study_pb2, measurement_pb2 = stubs["study_pb2"], stubs["measurement_pb2"]
    service_pb2, trial_pb2 = stubs["study_service_pb2"], stubs["trial_service_pb2"]
    channel = grpc.insecure_channel(options.server)
    studies = stubs["study_service_pb2_grpc"].StudyServiceStub(channel)
    trials = stubs["trial_service_pb2_grpc"].TrialServiceStub(channel)

    document = read_study(options.study)
    spec = json_format.ParseDict(document["spec"], study_pb2.StudySpec())
    try:
        study = studies.CreateStudy(service_pb2.CreateStudyRequest(
            study_id=document["metadata"]["name"], spec=spec), timeout=10)
    except grpc.RpcError as error:
        sys.exit(f"ask_tell: {options.server}: {error.details()}")
    print(f"{study.name}: {spec.budget.trials} trials")

    while True:
        asked = trials.AskTrials(trial_pb2.AskTrialsRequest(
            parent=study.name, count=options.batch, client_id="ask_tell.py"), timeout=10)
        if asked.study_ended:
            break
        reports = []
        for item in asked.trials:
            values = evaluate(dict(item.parameters))
            reports.append(trial_pb2.TrialReport(
                trial=item.trial.name, attempt=item.attempt,
                measurements=[measurement_pb2.Measurement(
                    metric=name, value=value, sample_count=1,
                    provenance=measurement_pb2.EXTERNAL) for name, value in values.items()]))
            print(f"  trial {item.trial.number}: score {values['score']:.3f}, cost {values['cost']:.1f}")
        if reports:
            told = trials.TellTrials(trial_pb2.TellTrialsRequest(reports=reports), timeout=10)
            for report, status in zip(reports, told.statuses):
                if status.code:
                    print(f"  {report.trial} was refused: {status.message}", file=sys.stderr)

    front = studies.GetFront(service_pb2.GetFrontRequest(name=study.name), timeout=10)
    print(f"Front of {len(front.trials)} trials, hypervolume {front.hypervolume:.4g}:")
    for trial in front.trials:
        values = {m.metric: m.value for m in trial.measurements}
        print(f"  trial {trial.number}: score {values['score']:.3f}, cost {values['cost']:.1f}  {trial.architecture.text}")


if __name__ == "__main__":
    main()
