// The descriptions that we ship, as a user would write them.
#pragma once

namespace hwnas::agent {

// Each is tested against output of the real program (tests/agent/runtime).
//
// trtexec: the latency of one query with its transfers, one sample each.
// benchmark_model: newer ones print percentiles, older ones the mean alone. The
// last line with count= is about the timed inferences; the one before, warm-up.
// onnxruntime_perf_test: its result file has a line for each inference.
inline constexpr char kPresetCommandRuntimes[] = R"json({
"runtimes": [
{
  "name": "trtexec",
  "command": ["trtexec", "--onnx={model}", "--duration={seconds}", "--warmUp=500",
              "--useSpinWait", "--exportTimes={folder}/times.json"],
  "precisions": {"fp32": ["--noTF32"], "fp16": ["--fp16"], "int8": ["--int8"]},
  "results": {
    "samples": {"file": "times.json", "json": "/*/latencyMs"},
    "median": {"regex": "\\] Latency: min = .* median = ([0-9.e+-]+) ms"},
    "mean": {"regex": "\\] Latency: min = .* mean = ([0-9.e+-]+) ms"},
    "p99": {"regex": "\\] Latency: min = .* percentile\\(99%\\) = ([0-9.e+-]+) ms"},
    "version": {"regex": "TensorRT\\.trtexec \\[TensorRT v([0-9]+)\\]|TensorRT version: (?P<value>[0-9.]+)"}
  }
},
{
  "name": "benchmark_model",
  "model": "tflite",
  "command": ["benchmark_model", "--graph={model}", "--num_threads={threads}", "--num_runs=10",
              "--warmup_min_secs=0.5", "--min_secs={seconds}"],
  "results": {
    "median": {"regex": "count=[0-9]+ .* median=([0-9.e+-]+)", "unit": "us"},
    "mean": {"regex": "Inference \\(avg\\): ([0-9.e+-]+)", "unit": "us"},
    "count": {"regex": "count=([0-9]+) "},
    "load": {"regex": "timings in us: Init: ([0-9.e+-]+)", "unit": "us"},
    "first": {"regex": "First inference: ([0-9.e+-]+)", "unit": "us"},
    "peak_memory": {"regex": "start of the tool \\(MB\\): init=.* overall=([0-9.e+-]+)", "unit": "MiB"}
  }
},
{
  "name": "onnxruntime_perf_test",
  "command": ["onnxruntime_perf_test", "-I", "-s", "-e", "cpu", "-m", "duration", "-t", "{seconds}",
              "-x", "{threads}", "-y", "1", "-o", "99", "{model}", "{folder}/result.csv"],
  "precisions": {"fp32": [], "int8": []},
  "quantize": true,
  "results": {
    "samples": {"file": "result.csv", "regex": "(?m)^[^,\\n]*,([0-9.e+-]+),", "unit": "s"},
    "mean": {"regex": "Average inference time cost: ?([0-9.e+-]+) ms"},
    "load": {"regex": "Session creation time cost: ?([0-9.e+-]+) s", "unit": "s"}
  }
}
]})json";

}  // namespace hwnas::agent
