#!/usr/bin/env bash
# Times ONNX files with hwnas-agent and, independently, with onnxruntime-node in
# Node.js, one thread each, taking turns, and prints medians and their ratio.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
  cat <<EOT
Usage: bench/agent/compare_with_node.sh [MODEL.onnx...]

Without files: three networks written by the bench tool export_models.
Environment: BUILD (default build/release), ROUNDS (5), SECONDS_EACH (2),
NODE_MODULES (a node_modules folder with onnxruntime-node; default: installed
under BUILD/bench by npm).
EOT
  exit 0
fi
build=${BUILD:-$root/build/release}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-2}

agent=$build/bin/hwnas-agent
[[ -x $agent ]] || { echo "$agent is missing: scripts/build release hwnas-agent" >&2; exit 1; }
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

declare -A by_agent by_node flags
for ((round = 1; round <= rounds; ++round)); do
  for model in "${models[@]}"; do
    # The first measurement in the file is the latency.
    json=$("$agent" --measure_file="$model" --threads=1 --max_time="${seconds}s" --log_level=error)
    by_agent[$model]+=$(grep -oP '"metric":"latency_ms","value":\K[0-9.eE+-]+' <<<"$json")$'\n'
    grep -q '"flags":' <<<"$json" && flags[$model]=$((${flags[$model]:-0} + 1))
    by_node[$model]+=$(NODE_PATH=$modules node "$root/bench/agent/time_with_node.js" "$model" "$seconds")$'\n'
  done
done

printf '| model | hwnas-agent, ms | onnxruntime-node, ms | ratio | flagged rounds |\n|---|---|---|---|---|\n'
for model in "${models[@]}"; do
  a=$(printf '%s' "${by_agent[$model]}" | median)
  n=$(printf '%s' "${by_node[$model]}" | median)
  awk -v m="$(basename "$model" .onnx)" -v a="$a" -v n="$n" -v f="${flags[$model]:-0}" -v r="$rounds" \
    'BEGIN { printf "| %s | %.3f | %.3f | %.3f | %d of %d |\n", m, a, n, a / n, f, r }'
done
