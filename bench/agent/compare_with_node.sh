#!/usr/bin/env bash
# Times ONNX files with hwnas-agent and, independently, with a bare loop on the same
# library and with onnxruntime-node in Node.js, one thread on the same core each, taking
# turns, and prints medians and ratios.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<EOT
Usage: bench/agent/compare_with_node.sh [MODEL.onnx...]

Without files: three networks written by the bench tool export_models.
Environment: BUILD (default build/release), ROUNDS (9), SECONDS_EACH (1),
NODE_MODULES (a node_modules folder with onnxruntime-node; default: installed
under BUILD/bench by npm).
EOT
  exit 0
fi
build=${BUILD:-$root/build/release}
rounds=${ROUNDS:-9}
seconds=${SECONDS_EACH:-1}

agent=$build/bin/hwnas-agent
[[ -x $agent ]] || { echo "$agent is missing: scripts/build release hwnas-agent" >&2; exit 1; }
[[ -x $build/bin/time_plainly ]] ||
  { echo "time_plainly is missing: configure with -DHWNAS_BUILD_BENCH=ON and build it" >&2; exit 1; }
command -v node >/dev/null || { echo "node is missing: install nodejs" >&2; exit 1; }

modules=${NODE_MODULES:-$build/bench/node_modules}
if [[ ! -d $modules/onnxruntime-node ]]; then
  npm install --prefix "$(dirname "$modules")" --ignore-scripts --no-audit --no-fund \
    --no-save --no-package-lock --loglevel=error onnxruntime-node@1.30.0 >/dev/null
fi

models=("$@")
if ((${#models[@]} == 0)); then
  [[ -x $build/bin/export_models ]] ||
    { echo "export_models is missing: configure with -DHWNAS_BUILD_BENCH=ON and build it" >&2; exit 1; }
  "$build/bin/export_models" "$build/bench/models"
  models=("$build"/bench/models/*.onnx)
fi

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

time_agent() {
  # The first measurement in the file is the latency.
  json=$("$agent" --measure_file="$1" --threads=1 --max_time="${seconds}s" --log_level=error)
  a=$(grep -oP '"metric":"latency_ms","value":\K[0-9.eE+-]+' <<<"$json")
  core=$(grep -oP '"pinned_cores":\[\K[0-9]+' <<<"$json")
  ! grep -q '"flags":' <<<"$json" || flags[$1]=$((${flags[$1]:-0} + 1))
}
time_plain() {
  p=$("$build/bin/time_plainly" "$1" "$seconds" "$core")
}
time_node() {
  n=$(NODE_PATH=$modules node "$root/bench/agent/time_with_node.js" "$1" "$seconds" "$core")
}

# The machine's speed drifts, so each round compares neighbours in time, in
# changing order, and the ratio is the median over rounds.
declare -A by_agent by_plain by_node plain_ratios ratios flags
time_agent "${models[0]}"  # Says which core it is pinned to: Node.js gets the same.
flags=()
for ((round = 1; round <= rounds; ++round)); do
  for model in "${models[@]}"; do
    if ((round % 2)); then
      time_plain "$model"; time_agent "$model"; time_node "$model"
    else
      time_node "$model"; time_agent "$model"; time_plain "$model"
    fi
    by_plain[$model]+=$p$'\n'
    plain_ratios[$model]+=$(awk "BEGIN { print $a / $p }")$'\n'
    by_agent[$model]+=$a$'\n'
    by_node[$model]+=$n$'\n'
    ratios[$model]+=$(awk "BEGIN { print $a / $n }")$'\n'
  done
done

printf '| model | hwnas-agent, ms | bare loop, ms | ratio | onnxruntime-node, ms | ratio | flagged rounds |\n|---|---|---|---|---|---|---|\n'
for model in "${models[@]}"; do
  printf '| %s | %.3f | %.3f | %.3f | %.3f | %.3f | %d of %d |\n' "$(basename "$model" .onnx)" \
    "$(printf '%s' "${by_agent[$model]}" | median)" \
    "$(printf '%s' "${by_plain[$model]}" | median)" "$(printf '%s' "${plain_ratios[$model]}" | median)" \
    "$(printf '%s' "${by_node[$model]}" | median)" "$(printf '%s' "${ratios[$model]}" | median)" \
    "${flags[$model]:-0}" "$rounds"
done
