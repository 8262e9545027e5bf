#!/usr/bin/env bash
# Training throughput of the worker beside the same network and batch in Python's
# torch, on this machine, in turns: medians and ratios.
#
# Usage: bench/worker/compare_with_python.sh [BUILD_DIR] [ROUNDS]
# THREADS=1 TIME=cpu compares images a second of processor time instead of
# elapsed time, for a machine that is busy with other things.
# Needs a build with -DHWNAS_BUILD_BENCH=ON, dataset-fashion-mnist, python3-torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
rounds=${2:-5}
batch=128
threads=${THREADS:-$(nproc)}
cpp_time=() py_time=()
[[ ${TIME:-} == cpu ]] && cpp_time=(--cpu_time) && py_time=(cpu_time)
steps=${STEPS:-48}
python=/usr/bin/python3
bench=$build/bin/train_throughput
[[ -x $bench ]] || { echo "$bench is missing: build with -DHWNAS_BUILD_BENCH=ON" >&2; exit 1; }

# What the worker sets for itself, given to both sides; see docs/training.md.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
export OMP_NUM_THREADS=$threads

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
median() { sort -g | awk '{v[NR]=$1} END {print (NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2)}'; }

printf '%-28s %10s %14s %20s %8s %8s\n' network worker 'python (NCHW)' 'python (chan. last)' ratio ratio
while IFS='|' read -r name flags; do
  # shellcheck disable=SC2086
  "$bench" $flags --dump="$work/net.json"
  : >"$work/a"; : >"$work/b"; : >"$work/c"; : >"$work/rb"; : >"$work/rc"
  for ((i = 0; i < rounds; ++i)); do
    # shellcheck disable=SC2086
    a=$("$bench" $flags --batch=$batch --threads="$threads" --data_fraction=0.05 "${cpp_time[@]}")
    b=$($python bench/worker/peer_torch.py "$work/net.json" $batch "$threads" "$steps" "${py_time[@]}")
    c=$($python bench/worker/peer_torch.py "$work/net.json" $batch "$threads" "$steps" channels_last "${py_time[@]}")
    echo "$a" >>"$work/a"; echo "$b" >>"$work/b"; echo "$c" >>"$work/c"
    awk "BEGIN {print $a / $b}" >>"$work/rb"; awk "BEGIN {print $a / $c}" >>"$work/rc"
  done
  printf '%-28s %10.0f %14.0f %20.0f %8.2f %8.2f\n' "$name" "$(median <"$work/a")" \
    "$(median <"$work/b")" "$(median <"$work/c")" "$(median <"$work/rb")" "$(median <"$work/rc")"
done <<'NETWORKS'
nasbench201 8 channels|--channels=8
nasbench201 16 channels|--channels=16
nasbench201 8, random cell|--channels=8 --architecture=random --seed=3
mobile, random|--space=mobile --seed=2
NETWORKS
echo "Images a second, medians of $rounds rounds in turns; ratios are medians of the rounds' ratios."
