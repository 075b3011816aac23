#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The call flow of `make run ONCE=1` over 16 peers with a capture, which an independent dissector then judges. S-4.1-01 S-4.2-01
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
work=$(mktemp -d /tmp/ringgate.XXXXXX)
flow=
trap '[ -z "$flow" ] || { kill -TERM "$flow" && wait "$flow"; } 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
ONCE=1 PEERS=${PEERS:-16} KEYLOG=$work/keys PCAP=$work/capture.pcap appliance/trial/run.sh &
flow=$!
wait "$flow" || exit $?
flow=
judge=../shared/tools/check-capture
[ -x "$judge" ] || { echo "the call flow works; no dissector script beside the repository, capture not judged"; exit 0; }
bash "$judge" "$work/capture.pcap" "$work/keys" 6084
