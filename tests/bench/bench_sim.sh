#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How the overlay grows, from the simulator: hops, maintenance traffic and memory at 100, 1,000 and 10,000 nodes (SIM_LARGE=1: and 100,000),
# and lookups under churn. Overlays begin settled (ringgate-sim(1), --join): growing takes longer than what is measured. Runs are
# deterministic but for the time they take, so one of each is enough. See docs/scale.md.
#   sim_hops_mean_N                 links a Ping to a random Resource-ID crosses
#   sim_maint_bytes_per_node_s_N    octets of RELOAD messages a node sends without any Store or Fetch
#   sim_links_mean_N, sim_bytes_per_node_N
#   sim_events_per_s_N              events played in a processor second while the overlay is quiet
#   sim_events_per_s                the same in the hour of the largest overlay
#   sim_hour_cpu_s_N                processor seconds for an hour of light traffic, from 10,000 nodes on (lookups each ten minutes)
#   sim_maint_slope                 growth of that traffic per doubling of the overlay, octets per node and second
#   sim_lookup_success_churn10      Fetches that found the value stored last, 1,000 nodes with a half-life of ten minutes
set -u
cd "$(dirname "$0")/../.." || exit 1
SIM=${BUILD:-build}/ringgate-sim
SIZES="100 1000 10000"
LIMIT_S=280 # for each size; a slow machine leaves out the largest
if [ -n "${SIM_LARGE:-}" ]; then
	SIZES="$SIZES 100000"
	LIMIT_S=14400
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/ringgate.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

run() {
	local name=$1
	shift
	timeout "$LIMIT_S" "$SIM" --json "$@" >"$work/$name.json" 2>"$work/$name.err"
	local ended=$?
	[ "$ended" -ne 124 ] || { echo "$name takes longer than $LIMIT_S s here, left out" >&2; rm -f "$work/$name.json"; return 0; }
	[ "$ended" -eq 0 ] || { cat "$work/$name.err" >&2; return 1; }
}

for size in $SIZES; do
	run "quiet_$size" quiet -n "$size" --join settled --duration 60 --check-interval 60 --records 1000 --lookup-interval 600 \
		--probes 4000 || exit 1
	[ "$size" -lt 10000 ] || run "hour_$size" quiet -n "$size" --join settled --duration 3600 --check-interval 60 \
		--update-interval 3600 --records 1000 --lookup-interval 600 --probes 100 --window 1 || exit 1
done
run churn churn -n 1000 --half-life 600 --duration 600 --probes 1000 || exit 1

python3 - "$work" <<'PYTHON'
import json, math, os, sys

work = sys.argv[1]
sizes = sorted(int(name[6:-5]) for name in os.listdir(work) if name.startswith("quiet_") and name.endswith(".json"))
quiet = {size: json.load(open(f"{work}/quiet_{size}.json")) for size in sizes}
for size, result in quiet.items():
    print(f"sim_hops_mean_{size} {result['hops_mean']:.3f}")
    print(f"sim_maint_bytes_per_node_s_{size} {result['octets_per_node_s']:.1f}")
    print(f"sim_links_mean_{size} {result['links_mean']:.1f}")
    print(f"sim_bytes_per_node_{size} {result['bytes_per_node']:.0f}")
    print(f"sim_events_per_s_{size} {result['quiet_events'] / result['quiet_cpu_s']:.0f}")
hours = {size: json.load(open(f"{work}/hour_{size}.json")) for size in sizes if os.path.exists(f"{work}/hour_{size}.json")}
for size, hour in hours.items():
    print(f"sim_hour_cpu_s_{size} {hour['quiet_cpu_s']:.1f}")
largest = hours[max(hours)] if hours else quiet[sizes[-1]]
print(f"sim_events_per_s {largest['quiet_events'] / largest['quiet_cpu_s']:.0f}")
if len(sizes) > 1:
    x = [math.log2(size) for size in sizes]
    y = [quiet[size]["octets_per_node_s"] for size in sizes]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)
    print(f"sim_maint_slope {slope:.2f}")
    print(f"sim_bytes_per_node {quiet[sizes[-1]]['bytes_per_node']:.0f}")
if os.path.exists(f"{work}/churn.json"):
    print(f"sim_lookup_success_churn10 {json.load(open(f'{work}/churn.json'))['lookup_success']:.5f}")
PYTHON
