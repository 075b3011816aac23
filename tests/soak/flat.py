#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does what an overlay holds stay as it is?  flat.py FILE, the JSON of ringgate-sim quiet --sample 3600 --duration 86400

Nodes look for a missing finger once in chord-ping-interval, an hour, so that links and the memory for them grow for some hours. When
they have come to rest, from the middle of the run on, both must be flat; and memory for each link must not grow from the first hour on,
or what grew were not the links. A leak of three octets in two minutes in each node, in the second half of a day, is too much.
"""
import json
import sys

FLAT = 0.02  # the second half: from the least to the most, of the mean
LINK_GROWTH = 0.05  # memory for a link: the end against the first sample
SAMPLES_LEAST = 8  # fewer say nothing


def spread(values):
    return (max(values) - min(values)) / (sum(values) / len(values))


def judge(samples):
    """What is wrong; nothing when it is flat."""
    if len(samples) < SAMPLES_LEAST:
        return [f"{len(samples)} samples are too few to judge by"]
    half = [sample for sample in samples if 2 * sample["after_s"] >= samples[-1]["after_s"]]
    wrong = []
    for name, text in (("bytes_per_node", "memory of a node"), ("links_mean", "links of a node")):
        if (moved := spread([sample[name] for sample in half])) > FLAT:
            wrong.append(f"{text} moved by {moved:.1%} in the second half, more than {FLAT:.0%}")
    link = [sample["bytes_per_node"] / sample["links_mean"] for sample in samples]
    if link[-1] > link[0] * (1 + LINK_GROWTH):
        wrong.append(f"memory for each link grew by {link[-1] / link[0] - 1:.1%}, more than {LINK_GROWTH:.0%}")
    return wrong


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        samples = json.load(file)["samples"]
    for sample in samples:
        print(f"after {sample['after_s'] / 3600:4.1f} h: {sample['bytes_per_node']:8.0f} octets a node, {sample['links_mean']:6.2f} links")
    wrong = judge(samples)
    for text in wrong:
        print(f"FAILED: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
