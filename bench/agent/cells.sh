# Shared by repeatability and under_attack: makes random NAS-Bench-201 cells.
# Source it; it reads the options of both.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${BUILD:-$root/build/release}
count=30 seed=1 max_time=${max_time:-5s} channels=16 cells=5
out=$build/bench/cells

usage_options='  --count N      cells, different ones at random (30)
  --seed N       of the choice (1)
  --max_time T   longest time of one measurement ('"$max_time"')
  --channels N   of the networks (16)
  --cells N      in each stage of them (5)
  --out DIR      for the models and the measurements
                 (BUILD/bench/cells)
Environment: BUILD (default build/release).'

while (($# > 0)); do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --count) count=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    --max_time) max_time=$2; shift 2 ;;
    --channels) channels=$2; shift 2 ;;
    --cells) cells=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done

agent=$build/bin/hwnas-agent
for program in "$agent" "$build/bin/export_cells"; do
  [[ -x $program ]] || {
    echo "$program is missing: configure with -DHWNAS_BUILD_BENCH=ON and build it" >&2; exit 1; }
done
mkdir -p "$out"
"$build/bin/export_cells" "$out/models" "$count" "$seed" "$channels" "$cells"
models=("$out"/models/*.onnx)
models=("${models[@]:0:count}")

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Of two columns.
spearman() {
  awk '
    function ranks(value, rank,   i, j, below, equal) {
      for (i = 1; i <= NR; ++i) {
        below = equal = 0
        for (j = 1; j <= NR; ++j) { below += value[j] < value[i]; equal += value[j] == value[i] }
        rank[i] = below + (equal + 1) / 2
      }
    }
    { a[NR] = $1 + 0; b[NR] = $2 + 0 }
    END {
      ranks(a, ra); ranks(b, rb); mean = (NR + 1) / 2
      for (i = 1; i <= NR; ++i) {
        ab += (ra[i] - mean) * (rb[i] - mean); aa += (ra[i] - mean) ^ 2; bb += (rb[i] - mean) ^ 2
      }
      if (aa * bb > 0) printf "%.4f\n", ab / sqrt(aa * bb); else print "none"
    }'
}
