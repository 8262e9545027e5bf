#!/usr/bin/env python3
"""Drives a study with an evaluator of your own, in plain Python.

Needs only Debian's python3-grpcio, protobuf-compiler and
protobuf-compiler-grpc: the stubs are generated from proto/ into a temporary
folder. Replace evaluate() by whatever you measure.

  hwnas-controller --store=/tmp/ask-tell &
  hwnas submit examples/ask_tell.yaml
  python3 examples/ask_tell.py --study ask-tell

Several copies may run at once: each trial is leased to one of them. A trial
whose evaluator falls silent for longer than the lease is handed out again.
"""
import argparse
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import grpc

PROTO_DIR = pathlib.Path(__file__).resolve().parent.parent / "proto"


def load_stubs(folder):
    """Generates hwnas.v1 for Python and imports what this script uses."""
    files = sorted(str(path) for path in (PROTO_DIR / "hwnas" / "v1").glob("*.proto"))
    plugin = shutil.which("grpc_python_plugin")
    if shutil.which("protoc") is None or plugin is None:
        sys.exit("ask_tell: install protobuf-compiler and protobuf-compiler-grpc")
    subprocess.run(["protoc", f"-I{PROTO_DIR}", f"--python_out={folder}",
                    f"--grpc_out={folder}", f"--plugin=protoc-gen-grpc={plugin}", *files],
                   check=True)
    sys.path.insert(0, folder)
    names = ("measurement_pb2", "study_service_pb2", "study_service_pb2_grpc",
             "trial_service_pb2", "trial_service_pb2_grpc")
    return [importlib.import_module("hwnas.v1." + name) for name in names]


def evaluate(parameters):
    """A stand-in for a real evaluation: a score and a cost from the choices.

    `parameters` maps the name of each decision to the option taken, e.g.
    {"edge_0_1": "nor_conv_3x3", ...}.
    """
    score = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 2.0, "skip_connect": 1.0,
             "avg_pool_3x3": 0.5, "none": 0.0}
    cost = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 1.0, "skip_connect": 0.1,
            "avg_pool_3x3": 0.4, "none": 0.0}
    options = list(parameters.values())
    return {
        "score": sum(score.get(o, 0) for o in options) + 0.5 * len(set(options)),
        "cost": sum(cost.get(o, 0) for o in options),
    }


def connect(server, tls_dir):
    """A channel to the controller, with the identity in a folder that `hwnas ca enroll` made."""
    if not tls_dir:
        return grpc.insecure_channel(server)
    with open(os.path.join(tls_dir, "ca.pem"), "rb") as file:
        authority = file.read()
    with open(os.path.join(tls_dir, "identity.pem"), "rb") as file:
        identity = file.read()  # The certificate, then its key.
    credentials = grpc.ssl_channel_credentials(authority, identity, identity)
    return grpc.secure_channel(server, credentials,
                               [("grpc.ssl_target_name_override", "controller.hwnas")])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("HWNAS_SERVER", "127.0.0.1:7420"),
                        help="controller, HOST:PORT (default: $HWNAS_SERVER or 127.0.0.1:7420)")
    parser.add_argument("--tls-dir", default=os.environ.get("HWNAS_TLS_DIR"),
                        help="folder of your certificate (default: $HWNAS_TLS_DIR, else no TLS)")
    parser.add_argument("--study", default="ask-tell", help="name of the study (default: ask-tell)")
    parser.add_argument("--batch", type=int, default=4, help="trials to ask for at once, 1 to 64")
    arguments = parser.parse_args()
    parent = "studies/" + arguments.study

    with tempfile.TemporaryDirectory() as folder:
        measurement, studies, studies_grpc, trials, trials_grpc = load_stubs(folder)
        channel = connect(arguments.server, arguments.tls_dir)
        service = trials_grpc.TrialServiceStub(channel)
        try:
            run(service, parent, arguments.batch, trials, measurement)
            front = studies_grpc.StudyServiceStub(channel).GetFront(
                studies.GetFrontRequest(name=parent), timeout=15)
        except grpc.RpcError as error:
            sys.exit(f"ask_tell: {arguments.server}: {error.code().name}: {error.details()}")

    print(f"\nfront of {parent}, hypervolume {front.hypervolume:.4g}:")
    for trial in front.trials:
        values = "  ".join(f"{m.metric}={m.value:.4g}" for m in trial.measurements)
        print(f"  trial {trial.number}: {values}  {trial.architecture.text}")


def run(service, parent, batch, trials, measurement):
    """Asks, evaluates and tells until the study has ended."""
    ask = trials.AskTrialsRequest(
        parent=parent, count=batch, client_id=f"ask_tell.py-{os.getpid()}")
    asked = service.AskTrials(ask, timeout=15)
    while True:
        reports = []
        for item in asked.trials:
            report = trials.TrialReport(trial=item.trial.name, attempt=item.attempt)
            try:
                values = evaluate(dict(item.parameters))
            except Exception as error:  # The search goes on without this trial.
                report.error = str(error)[:500] or type(error).__name__
            else:
                for name, value in values.items():
                    report.measurements.append(measurement.Measurement(
                        metric=name, value=value, sample_count=1,
                        provenance=measurement.EXTERNAL))
                print(f"trial {item.trial.number}: {values}")
            reports.append(report)
        if reports:
            # Asks for the next ones in the same call.
            told = service.TellTrials(
                trials.TellTrialsRequest(reports=reports, next=ask), timeout=15)
            for report, status in zip(reports, told.statuses):
                if status.code != 0:
                    print(f"{report.trial}: {status.message}", file=sys.stderr)
            if told.next_status.code != 0:
                sys.exit(f"no more trials: {told.next_status.message}")
            asked = told.next
        elif asked.study_ended:
            return
        else:
            time.sleep(0.5)  # All that remain are out with someone else.
            asked = service.AskTrials(ask, timeout=15)


if __name__ == "__main__":
    main()
