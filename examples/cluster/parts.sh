#!/bin/sh
# Without Ray: every machine encodes its part into a folder of its own, then one mines all parts.
# Any scheduler will do; here the parts run one after the other on this machine.
#   examples/cluster/parts.sh WORK [CORPUS [MODEL]]
set -eu
work=${1:?name a folder to write to}
corpus=${2:-wordnet}
model=${3:-emoji}
parts=3
mkdir -p "$work"
printf 'cat\ndog\nhorse\n' > "$work/labels.txt"

part=0
while [ "$part" -lt "$parts" ]; do
    # With Slurm: sbatch --array=0-2 and part=$SLURM_ARRAY_TASK_ID.
    neglabel encode "$corpus" --model "$model" --shard-rows 8192 --shard-of "$part/$parts" --out "$work/part-$part"
    part=$((part + 1))
done

# The same negatives as of one store: the parts are read in the order of the words.
neglabel mine "$work"/part-* --labels "$work/labels.txt" --out "$work/negatives.parquet" --top 1000
